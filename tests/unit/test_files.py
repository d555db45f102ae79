"""Writing files, and reading what may be anything."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from openbalena.base.errors import UsageError
from openbalena.base.files import private_directory, read_text, write_atomic

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="owners: root")


@root_only
def test_what_root_writes_in_a_users_directory_is_the_users(tmp_path: Path) -> None:
    """Otherwise the user's next command could not read its own settings."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, 1000, 1001)
    write_atomic(theirs / "new", "x", 0o600)
    (theirs / "old").write_text("x")
    write_atomic(theirs / "old", "y", 0o600)
    private_directory(theirs / "directory")
    owners = {(path.stat().st_uid, path.stat().st_gid) for path in theirs.iterdir()}
    assert owners == {(1000, 1001)}
    assert len(list(theirs.iterdir())) == 3


@root_only
def test_a_users_file_in_roots_directory_stays_the_users(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    os.chown(tmp_path / "file", 1000, 1001)
    write_atomic(tmp_path / "file", "y")
    write_atomic(tmp_path / "new", "y")
    assert ((tmp_path / "file").stat().st_uid, (tmp_path / "file").stat().st_gid) == (1000, 1001)
    assert (tmp_path / "new").stat().st_uid == 0


def test_a_write_that_fails_names_the_file(tmp_path: Path) -> None:
    """The process may write no file larger than 10 bytes (EFBIG), which says no name by itself."""
    script = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from openbalena.base.files import write_atomic\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        "try:\n"
        "    write_atomic(Path(sys.argv[1]), b'x' * 100)\n"
        "except OSError as error:\n"
        "    print(error.filename)\n"
    )
    path = tmp_path / "file"
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == f"{path}\n"
    assert list(tmp_path.iterdir()) == []


def test_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    assert read_text(tmp_path / "link") == b"x"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("directory", "is a directory, expected a regular file"),
        ("pipe", "is not a regular file"),
        ("zero", "is not a regular file"),
        ("full", "is not a regular file"),
        ("loop", "cannot be read: Too many levels of symbolic links"),
        ("missing", "cannot be read: No such file or directory"),
        ("file/x", "cannot be read: Not a directory"),
        ("x" * 300, "cannot be read: File name too long"),
    ],
)
def test_what_is_no_file_is_refused_at_once(name: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "full").symlink_to("/dev/full")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UsageError) as caught:
        read_text(tmp_path / name)
    assert str(caught.value) == f"{tmp_path / name}: {says}"
