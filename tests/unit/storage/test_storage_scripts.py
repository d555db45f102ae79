"""The scripts that copy a volume, run by this machine's sh between two directories: what arrives is what was there."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from openbalena.base.names import MOVE_MARK
from openbalena.storage import scripts


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start(script: str, volume: Path, port: int) -> "subprocess.Popen[str]":
    """A side of the copy with its own scratch directory, as the container has."""
    scratch = volume.parent / f"{volume.name}-tmp"
    scratch.mkdir(exist_ok=True)
    assert "4711" in script and ("1 .. 120" in script or "Timeout => 120" in script), "what is replaced here"
    text = script.replace("/tmp", str(scratch)).replace("/openbalena-volume", str(volume))
    text = text.replace("4711", str(port)).replace("1 .. 120", "1 .. 10").replace("Timeout => 120", "Timeout => 10")
    return subprocess.Popen(["sh", "-c", text], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def copy(source: Path, target: Path, send: str = scripts.send("127.0.0.1")) -> tuple[int, int, str]:
    """Exit codes of receiver and sender, and what the receiver said."""
    port = free_port()
    receiver, sender = start(scripts.RECEIVE, target, port), start(send, source, port)
    said, _ = receiver.communicate(timeout=60)
    sender.communicate(timeout=60)
    return receiver.returncode, sender.returncode, said


@pytest.fixture
def volumes(tmp_path: Path) -> tuple[Path, Path]:
    """A volume with all that makes copies go wrong, and an empty one."""
    source, target = tmp_path / "source", tmp_path / "target"
    for directory in (source / "empty" / "deep", source / "a b", target):
        directory.mkdir(parents=True)
    (source / "a b" / "line\nbreak").write_bytes(os.urandom(300_000))
    (source / "-rf").write_text("a dash")
    (source / "secret").write_text("x")
    (source / "secret").chmod(0o600)
    (source / "empty").chmod(0o700)
    (source / "link").symlink_to("nowhere/at all")
    if os.geteuid() == 0:
        os.chown(source / "a b", 70, 71)
    return source, target


def listing(directory: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(directory.rglob("*")):
        status = path.lstat()
        content = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(directory))] = (status.st_mode, status.st_uid, status.st_gid, content)
    found.pop(MOVE_MARK, None)
    return found


def test_everything_arrives_and_the_source_is_as_it_was(volumes: tuple[Path, Path]) -> None:
    source, target = volumes
    before = listing(source)
    received, sent, said = copy(source, target)
    assert (received, sent) == (0, 0), said
    assert listing(target) == before == listing(source)
    assert (target / MOVE_MARK).exists(), "not in use before the swarm remembers it"


def test_a_copy_that_was_cut_off_is_begun_anew(volumes: tuple[Path, Path]) -> None:
    source, target = volumes
    (target / MOVE_MARK).write_text("")
    (target / "half").write_text("of a file")
    assert copy(source, target)[:2] == (0, 0)
    assert listing(target) == listing(source)


def test_data_that_is_in_use_is_not_touched(volumes: tuple[Path, Path]) -> None:
    source, target = volumes
    (target / "precious").write_text("data")
    port = free_port()
    receiver = start(scripts.RECEIVE, target, port)
    assert receiver.wait(timeout=30) == scripts.OCCUPIED
    receiver.communicate()
    assert listing(target).keys() == {"precious"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("tar -cf - .", "tar -cf - ./empty"),
        ("tar -cf - .", "tar -cf - . | head -c 100000"),
        ('echo "$sum"', "echo 0123"),
        ("tar -cf - .", "touch late; tar -cf - ."),
    ],
    ids=["files missing", "cut off", "another checksum", "written meanwhile"],
)
def test_what_differs_is_found(volumes: tuple[Path, Path], old: str, new: str) -> None:
    source, target = volumes
    script = scripts.send("127.0.0.1")
    assert script.count(old) == 1
    received, _, _ = copy(source, target, script.replace(old, new))
    assert received not in (0, scripts.OCCUPIED)
    assert (target / MOVE_MARK).exists()
