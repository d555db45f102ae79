"""The script that copies a volume in passes, by the programs of Debian and of busybox: the last copy is exact."""

import os
import subprocess
from pathlib import Path

import debian
import pytest
from fake_engine import FakeEngine

from openbalena.base.errors import OperationError
from openbalena.base.names import COPY_MARK
from openbalena.machine import volume_copy
from openbalena.machine.volume_copy import Copier, VolumeCopy

APPLETS = "cat cmp cut date find grep head mkdir readlink rm sh sort stat sync tail tar touch tr uniq wc xargs"


class Volumes:
    """Two directories, and the programs that the script finds."""

    def __init__(self, directory: Path, path: str) -> None:
        self.source, self.target, self.directory, self.path = directory / "from", directory / "to", directory, path
        for name in ("from", "to"):
            (directory / name).mkdir()

    def copy(self, *skipped: str, last: bool = False) -> subprocess.CompletedProcess[str]:
        scratch = self.directory / f"tmp{len(list(self.directory.iterdir()))}"
        text = volume_copy.script(skipped, last=last).replace("/tmp", str(scratch))
        text = text.replace("/openbalena-from", str(self.source)).replace("/openbalena-to", str(self.target))
        command = ["sh", "-c", text]
        return subprocess.run(command, env={"PATH": self.path}, capture_output=True, text=True, check=False, timeout=60)

    def listing(self, directory: Path) -> dict[str, tuple[object, ...]]:
        found: dict[str, tuple[object, ...]] = {}
        for path in sorted(directory.rglob("*")):
            status = path.lstat()
            content: object = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else ""
            modified = int(status.st_mtime) if path.is_file() and not path.is_symlink() else 0
            found[str(path.relative_to(directory))] = (status.st_mode, status.st_uid, modified, content)
        found.pop(COPY_MARK, None)
        return found

    @property
    def same(self) -> bool:
        return self.listing(self.source) == self.listing(self.target)


@pytest.fixture(params=["debian", "busybox"])
def volumes(request: pytest.FixtureRequest, tmp_path: Path) -> Volumes:
    """A volume with all that makes copies go wrong, and an empty one."""
    path = os.environ["PATH"]
    if request.param == "busybox":
        busybox = debian.program("busybox-static", "usr/bin/busybox")
        (tmp_path / "bin").mkdir()
        for name in APPLETS.split():
            (tmp_path / "bin" / name).symlink_to(busybox)
        path = str(tmp_path / "bin")
    made = Volumes(tmp_path, path)
    for directory in (made.source / "empty" / "deep", made.source / "a b"):
        directory.mkdir(parents=True)
    (made.source / "a b" / "large").write_bytes(os.urandom(300_000))
    (made.source / "-rf").write_text("a dash")
    (made.source / "secret").write_text("x")
    (made.source / "secret").chmod(0o600)
    (made.source / "empty").chmod(0o700)
    (made.source / "link").symlink_to("nowhere/at all")
    return made


def test_a_copy_is_exact(volumes: Volumes) -> None:
    done = volumes.copy(last=True)
    assert done.returncode == 0, done.stderr
    assert volumes.same
    assert volumes.copy(last=True).returncode == 0


def test_the_next_pass_copies_what_has_changed_since(volumes: Volumes) -> None:
    (volumes.target / "left").write_text("of an older copy")
    assert volumes.copy().returncode == 0 and volumes.same
    before = (volumes.source / "secret").stat()
    (volumes.source / "secret").write_text("y")
    # Neither size nor time give it away.
    os.utime(volumes.source / "secret", ns=(before.st_atime_ns, before.st_mtime_ns))
    (volumes.source / "-rf").unlink()
    (volumes.source / "empty" / "new").write_text("new")
    (volumes.source / "a b").chmod(0o711)
    (volumes.source / "link").unlink()
    (volumes.source / "link").symlink_to("elsewhere")
    done = volumes.copy(last=True)
    assert done.returncode == 0, done.stderr
    assert volumes.same


def test_what_has_not_changed_is_not_copied_again(volumes: Volumes) -> None:
    for path in volumes.source.rglob("*"):
        if not path.is_symlink():
            os.utime(path, (1, 1))
    volumes.copy()
    (volumes.target / COPY_MARK).write_text("99999999999\n")
    inode = (volumes.target / "secret").stat().st_ino
    done = volumes.copy(last=True)
    assert done.stdout == "copied 0\n" and (volumes.target / "secret").stat().st_ino == inode


def test_files_stay_behind_on_both_sides(volumes: Volumes) -> None:
    (volumes.target / "secret").write_text("kept")
    done = volumes.copy("secret", last=True)
    assert done.returncode == 0, done.stderr
    assert (volumes.target / "secret").read_text() == "kept"
    assert (volumes.target / "-rf").exists()


def test_a_pass_that_cannot_copy_everything_is_only_refused_as_the_last_one(volumes: Volumes) -> None:
    (volumes.source / "line\nbreak").write_text("x")
    assert volumes.copy().returncode == 0
    done = volumes.copy(last=True)
    assert done.returncode != 0 and "No such file" in done.stdout


def test_a_failed_pass_is_an_error_with_both_names(fake: FakeEngine) -> None:
    fake.images.add("x")
    fake.endings["migrate"] = (1, ["no space left"])
    volume = VolumeCopy("db-data", "one_db-data", "ob_db-data")
    with (
        fake.engine.client() as client,
        pytest.raises(OperationError, match="one_db-data .* ob_db-data: no space left"),
    ):
        Copier(client, "one", "x", 60.0).copy(volume, lambda: None, last=True)
    ((source, target),) = [made["HostConfig"]["Mounts"] for made in fake.made]
    assert (source["Source"], source["ReadOnly"], target["Source"]) == ("one_db-data", True, "ob_db-data")
    assert [made["HostConfig"]["NetworkMode"] for made in fake.made] == ["none"] and not fake.connected
    assert fake.containers == {}


def test_volumes_are_measured(fake: FakeEngine) -> None:
    fake.images.add("x")
    fake.endings["migrate"] = (0, ["size one_db-data 3", "free - 5"])
    with fake.engine.client() as client:
        assert Copier(client, "one", "x", 60.0).measure(["one_db-data"], lambda: None) == ({"one_db-data": 3072}, 5120)
