"""A socket whose connections a program carries; the program here only echoes."""

import socket
import time

import pytest

from openbalena.base.errors import OperationError
from openbalena.docker.bridge import bridge
from openbalena.docker.engine import Engine


def talk(path: str, text: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(path)
        connection.sendall(text)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(4096), b""))


def test_each_connection_has_a_process_of_its_own() -> None:
    with bridge(["cat"], {}) as opened:
        assert [talk(str(opened.path), text) for text in (b"one", b"two" * 5000)] == [b"one", b"two" * 5000]
        assert opened.path.parent.stat().st_mode & 0o777 == 0o700
    assert not opened.path.parent.exists()


def test_what_hangs_ends_with_the_bridge() -> None:
    with bridge(["sleep", "60"], {}) as opened, socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(opened.path))
        start = time.monotonic()
    assert time.monotonic() - start < 5


def test_a_program_s_last_words_are_the_reason(tmp_path_factory: pytest.TempPathFactory) -> None:
    program = tmp_path_factory.mktemp("bin") / "docker"
    program.write_text("#!/bin/sh\necho 'ssh: connect to host node2 port 22: No route to host' >&2\nexit 1\n")
    program.chmod(0o755)
    engine = Engine("root@node2", str(program), "ssh://root@node2")
    with pytest.raises(OperationError, match="root@node2 cannot be reached .*No route to host"), engine.client():
        pass
