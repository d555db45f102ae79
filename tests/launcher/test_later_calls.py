"""Later calls only look whether the environment is still the right one."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Checkout
from .test_first_call import SETTING_UP


def test_nothing_is_said_and_no_program_is_started_but_python(ready: Checkout, tmp_path: Path) -> None:
    for program in ("bash", "env"):
        found = shutil.which(program)
        assert found
        (tmp_path / program).symlink_to(found)
    later = ready.run("--version", PATH=str(tmp_path))
    assert (later.returncode, later.stdout, later.stderr) == (0, "open-balena.sh 0.1.0\n", "")


def test_through_links_from_any_directory(ready: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "absolute").symlink_to(ready.launcher)
    (tmp_path / "chain").symlink_to("absolute")
    (tmp_path / "relative").symlink_to(os.path.relpath(ready.launcher, tmp_path))
    monkeypatch.chdir(tmp_path)
    for command in (["./absolute"], ["./chain"], ["./relative"], ["bash", "relative"]):
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False, timeout=60)
        assert (done.stdout, done.stderr) == ("open-balena.sh 0.1.0\n", ""), command


def test_found_in_path(ready: Checkout) -> None:
    done = subprocess.run(
        ["open-balena.sh", "--version"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": f"{ready.directory}:{os.environ['PATH']}"},
        timeout=60,
    )
    assert done.stdout == "open-balena.sh 0.1.0\n"


def test_the_users_python_settings_do_not_reach_it(ready: Checkout, tmp_path: Path) -> None:
    (tmp_path / "openbalena.py").write_text("raise SystemExit('the wrong one')")
    assert ready.run("--version", PYTHONPATH=str(tmp_path), PYTHONHOME="/nowhere").returncode == 0


def test_nobody_else_can_write_into_what_it_makes(ready: Checkout, tmp_path: Path) -> None:
    (tmp_path / "compose.yml").write_text("services: {a: {image: x}}\n")
    words = ready.command("stack", "render", "-f", str(tmp_path / "compose.yml"), "-o", str(tmp_path / "new/deep/out"))
    for mask, mode in (("0", 0o755), ("077", 0o700)):
        subprocess.run(["bash", "-c", f'umask {mask}; exec "$@"', "bash", *words], check=True, timeout=60)
        assert (tmp_path / "new").stat().st_mode & 0o777 == mode
        shutil.rmtree(tmp_path / "new")


def test_arguments_and_exit_status_pass_through(ready: Checkout) -> None:
    done = ready.run("no such command", "*")
    assert done.returncode == 2
    assert done.stderr.startswith("error: 'no such command' is not a command")


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_closed_streams_change_nothing(ready: Checkout, closed: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OWN=$unset\n")
    words = ready.command("--project-directory", str(tmp_path), "showenv")
    done = subprocess.run(
        ["bash", "-c", f'exec "$@" {closed}', "bash", *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert ("1>" in closed) == ("NFS_PORT=2049" not in done.stdout)
    assert ("2>" in closed) == ("OWN uses a variable" not in done.stderr)


def test_a_touched_lock_changes_nothing(ready: Checkout) -> None:
    os.utime(ready.directory / "requirements.lock")
    before = ready.python.lstat().st_mtime_ns
    assert ready.run("--version").stderr == ""
    assert ready.python.lstat().st_mtime_ns == before


def remove_python(environment: Path) -> None:
    (environment / "bin" / "python").unlink()


def replace_python_version(environment: Path) -> None:
    (environment / "bin" / "python").unlink()
    (environment / "bin" / "python").symlink_to("/usr/bin/python3.1")


def lose_the_mark(environment: Path) -> None:
    (environment / "requirements.lock").unlink()


def change_the_lock(environment: Path) -> None:
    with (environment.parent / "requirements.lock").open("a") as lock:
        lock.write("# changed\n")


@pytest.mark.parametrize(
    "harm", [remove_python, replace_python_version, lose_the_mark, change_the_lock], ids=lambda f: f.__name__
)
def test_what_is_broken_or_outdated_is_made_anew(harm: Callable[[Path], None], ready: Checkout) -> None:
    harm(ready.directory / ".venv")
    mended = ready.run("--version")
    assert (mended.returncode, mended.stdout) == (0, "open-balena.sh 0.1.0\n"), mended.stderr
    assert mended.stderr.startswith(SETTING_UP)
    assert ready.run("--version").stderr == ""


def test_a_package_that_is_gone_is_noticed_and_the_next_call_mends_it(ready: Checkout) -> None:
    (package,) = (ready.directory / ".venv" / "lib").glob("python3.*/site-packages/yaml")
    shutil.rmtree(package)
    noticed = ready.run("showenv")
    assert noticed.returncode == 1
    assert "lacks yaml: rerun the command" in noticed.stderr
    mended = ready.run("showenv")
    assert mended.stderr.startswith(SETTING_UP)
    assert "yaml" not in mended.stderr
