"""HAProxy 2.6 is Debian 12's, installed or unpacked; 3.0 is in the stand-ins' root, whose own loader runs it."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import debian
import pytest
from front_door import FrontDoor
from haproxy_chain import make_chain

from openbalena.lab import paths

_ran: list[str] = []
# What Debian 12's haproxy is linked with and no Debian has by itself.
_LIBRARIES = {
    "liblua5.3-0": "liblua5.3.so.0",
    "libopentracing-c-wrapper0": "libopentracing-c-wrapper.so.0",
    "libopentracing1": "libopentracing.so.1",
    "libpcre2-posix3": "libpcre2-posix.so.3",
    "libpcre2-8-0": "libpcre2-8.so.0",
}


def find(version: str) -> list[str] | None:
    """The command of an HAProxy of that version, if it can be had."""
    for candidate in (["/usr/sbin/haproxy"], *_in_roots(), *_unpacked()):
        if Path(candidate[0]).exists():
            said = subprocess.run([*candidate, "-v"], capture_output=True, text=True, check=False, timeout=10).stdout
            if f"version {version}." in said:
                return candidate
    return None


def _in_roots() -> Iterator[list[str]]:
    for root in sorted((paths.directory() / "roots").glob("images-*")):
        libraries = f"{root}/usr/lib/x86_64-linux-gnu"
        yield [f"{root}/usr/lib64/ld-linux-x86-64.so.2", "--library-path", libraries, f"{root}/usr/sbin/haproxy"]


def _unpacked() -> Iterator[list[str]]:
    folder = "usr/lib/x86_64-linux-gnu"
    with contextlib.suppress(OSError, subprocess.SubprocessError):  # then the test says that it is left out
        found = [debian.program(package, f"{folder}/{file}", "bookworm") for package, file in _LIBRARIES.items()]
        libraries = ":".join(str(file.parent) for file in found)
        haproxy = debian.program("haproxy", "usr/sbin/haproxy", "bookworm")
        yield ["/lib64/ld-linux-x86-64.so.2", "--library-path", libraries, str(haproxy)]


@pytest.fixture(scope="session", params=["2.6", "3.0"])
def program(request: pytest.FixtureRequest) -> list[str]:
    """The command of each HAProxy version; says which ran."""
    command = find(request.param)
    if command is None:
        pytest.skip(
            f"HAProxy {request.param} is not here: 2.6 is Debian 12's package, 3.0 comes with ./scripts/test as root"
        )
    said = subprocess.run([*command, "-v"], capture_output=True, text=True, check=True, timeout=10).stdout
    _ran.append(said.splitlines()[0])
    return command


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which HAProxy the configuration was proved with."""
    for line in _ran:
        terminalreporter.write_line(f"images/haproxy was tested with {line}")


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_chain(tmp_path_factory.mktemp("certificate") / "chain.pem")


@pytest.fixture(scope="session")
def front_door(program: list[str], chain: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontDoor]:
    with FrontDoor(program, tmp_path_factory.mktemp("haproxy"), chain) as running:
        yield running
