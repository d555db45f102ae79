"""What can be wrong with a machine: one message that says what to do, exit status 1, nothing left behind."""

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from .conftest import PATIENCE, Checkout, copy

root_only = pytest.mark.skipif(os.geteuid() != 0 or os.uname().sysname != "Linux", reason="mounts: root on Linux")
UNCHANGED = {"open-balena.sh", "requirements.lock", "src"}


def refused(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    """`done` failed with one `error:` that has `parts`, and without a traceback."""
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("error: ") == 1
    assert "Traceback" not in done.stderr
    for part in parts:
        assert part in done.stderr


def path_with(directory: Path, *programs: str) -> str:
    directory.mkdir()
    for program in programs:
        found = shutil.which(program)
        assert found
        (directory / program).symlink_to(found)
    return str(directory)


def test_no_python(checkout: Checkout, tmp_path: Path) -> None:
    refused(
        checkout.run("help", PATH=path_with(tmp_path / "bin", "bash", "env")), "apt-get install python3 python3-venv"
    )
    assert checkout.files() == UNCHANGED


def test_only_an_old_python(checkout: Checkout, tmp_path: Path) -> None:
    path = path_with(tmp_path / "bin", "bash", "env")
    # An older Python's answer to the question for its version.
    (tmp_path / "bin" / "python3").write_text("#!/bin/bash\nexit 1\n")
    (tmp_path / "bin" / "python3").chmod(0o755)
    refused(checkout.run("help", PATH=path), "Python 3.11 or newer was not found")
    assert checkout.files() == UNCHANGED


def test_unreachable_package_index(checkout: Checkout) -> None:
    # Port 9 (discard) is closed here; nothing but the index may offer packages.
    done = checkout.run(
        "help",
        PIP_CONFIG_FILE=os.devnull,
        PIP_INDEX_URL="http://127.0.0.1:9/simple",
        PIP_FIND_LINKS="",
        PIP_EXTRA_INDEX_URL="",
    )
    refused(done, "The package index cannot be reached", "PIP_INDEX_URL")
    assert checkout.files() == UNCHANGED


def test_a_package_that_is_not_the_locked_one(checkout: Checkout) -> None:
    lock = checkout.directory / "requirements.lock"
    head = lock.read_text().split("--hash")[0]
    lock.write_text(f"{head}--hash=sha256:{'0' * 64}\n")
    refused(checkout.run("help"), "A package does not match its locked hash")
    assert checkout.files() == UNCHANGED


def test_no_wheel_fits(checkout: Checkout, tmp_path: Path) -> None:
    """A source distribution is not built: what builds it would be fetched and run without a hash."""
    links = tmp_path / "links"
    links.mkdir()
    (links / "pyyaml-6.0.3.tar.gz").write_bytes(b"")
    done = checkout.run("help", PIP_CONFIG_FILE=os.devnull, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(links))
    refused(done, "no wheel for this Python and machine", "PIP_INDEX_URL")
    assert checkout.files() == UNCHANGED


def mounted(directory: Path, options: str, command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run `command` where `directory` is a tmpfs with a copy of the checkout, in a mount namespace of its own."""
    fill = f"mount -t tmpfs -o size=8m none {directory} && cp -a {directory}.origin/. {directory}/"
    inside = (
        f"{fill} && {options} && cd {directory} && {' '.join(command)}; status=$?; ls -A {directory} >&2; exit $status"
    )
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", inside], capture_output=True, text=True, check=False, timeout=PATIENCE
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Checkout:
    copy(tmp_path / "disk.origin", small=True)
    (tmp_path / "disk").mkdir()
    return Checkout(tmp_path / "disk")


def left(done: subprocess.CompletedProcess[str]) -> set[str]:
    return set(done.stderr.splitlines()[-len(UNCHANGED) :])


@root_only
def test_a_full_disk(small_disk: Checkout) -> None:
    done = mounted(small_disk.directory, "true", ["./open-balena.sh", "help"])
    refused(done, "The disk is full", "free 300 MB")
    assert left(done) == UNCHANGED


@root_only
def test_a_read_only_checkout(small_disk: Checkout) -> None:
    done = mounted(small_disk.directory, f"mount -o remount,ro {small_disk.directory}", ["./open-balena.sh", "help"])
    refused(done, "is not writable", "make it writable")
    assert left(done) == UNCHANGED


@root_only
def test_a_python_without_the_venv_package(checkout: Checkout, tmp_path: Path) -> None:
    # Debian has ensurepip in the package python3-venv: the standard library as it is without that package.
    library = sysconfig.get_path("stdlib")
    inside = (
        f"mount -t tmpfs none {tmp_path}/layer && mkdir {tmp_path}/layer/upper {tmp_path}/layer/work &&"
        f" mount -t overlay -o lowerdir={library},upperdir={tmp_path}/layer/upper,workdir={tmp_path}/layer/work"
        f" none {library} && rm -r {library}/ensurepip && exec '{checkout.launcher}' help"
    )
    (tmp_path / "layer").mkdir()
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", inside], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    refused(done, "apt-get install python3-venv")
    assert checkout.files() == UNCHANGED
