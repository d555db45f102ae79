"""The first call makes the environment: whole, once, whatever happens to it half-way."""

import fcntl
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from .conftest import PATIENCE, Checkout, copy, processes_of

SETTING_UP = "Setting up the Python environment"


def pythons() -> list[str]:
    """The Pythons of this machine that we support: on PATH, or pyenv's."""
    found = []
    for version in ("3.11", "3.12", "3.13"):
        places: list[str | Path | None] = [
            shutil.which(f"python{version}"),
            *Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"),
        ]
        for place in (place for place in places if place):
            # Not every name in PATH is a Python: pyenv's refuses versions that are not chosen.
            asked = subprocess.run(
                [place, "-c", "import sys; print(sys.executable)"], check=False, capture_output=True, text=True
            )
            if asked.returncode == 0:
                found.append(asked.stdout.strip())
                break
    return found


@pytest.mark.parametrize("python", pythons(), ids=os.path.basename)
def test_the_whole_lock_installs_and_every_dependency_can_be_loaded(python: str, tmp_path: Path) -> None:
    checkout = copy(tmp_path / "checkout", small=False)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").symlink_to(python)
    first = checkout.run("--version", PATH=f"{tmp_path}/bin:/usr/bin:/bin")
    assert (first.returncode, first.stdout) == (0, "open-balena.sh 0.1.0\n"), first.stderr
    assert first.stderr.startswith(SETTING_UP)
    assert len(first.stderr.splitlines()) == 1
    loads = "import cryptography, docker, urllib3, yaml, openbalena; yaml.CSafeLoader"
    subprocess.run([checkout.python, "-c", loads], check=True, timeout=60)
    # The link names the minor version: it dangles, and is noticed, when a system upgrade replaces that version.
    assert checkout.python.resolve() == Path(python).resolve()
    assert checkout.files() == {"open-balena.sh", "requirements.lock", "src", ".venv"}


def test_nobody_else_can_write_into_the_environment(checkout: Checkout) -> None:
    """Whoever could would have code of theirs run by the next caller."""
    done = subprocess.run(
        ["bash", "-c", 'umask 0; exec "$@"', "bash", *checkout.command("--version")],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        # Wheels are taken, whatever the user's pip is set to.
        env={**os.environ, "PIP_NO_BINARY": "pyyaml"},
    )
    assert done.returncode == 0, done.stderr
    environment = checkout.directory / ".venv"
    made = [environment, *(path for path in environment.rglob("*") if not path.is_symlink())]
    assert [path for path in made if path.stat().st_mode & 0o022] == []


def test_the_question_for_pythons_version_runs_nothing_of_the_users(checkout: Checkout, tmp_path: Path) -> None:
    """Without -I a sitecustomize of PYTHONPATH would run."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "sitecustomize.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    assert checkout.run("--version", PYTHONPATH=str(tmp_path / "own")).returncode == 0
    assert not (tmp_path / "ran").exists()


def test_scripts_of_the_environment_know_where_it_ended_up(ready: Checkout) -> None:
    subprocess.run(
        [ready.directory / ".venv" / "bin" / "pip", "--version"], check=True, capture_output=True, timeout=60
    )


def test_two_first_calls_at_once(checkout: Checkout) -> None:
    calls = [
        subprocess.Popen(checkout.command("--version"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [call.communicate(timeout=PATIENCE) for call in calls]
    assert [call.returncode for call in calls] == [0, 0]
    assert [out for out, _ in said] == ["open-balena.sh 0.1.0\n"] * 2
    errors = "".join(error for _, error in said)
    assert errors.count(SETTING_UP) == 1
    assert "Waiting for another process" in errors


def start_until_pip(checkout: Checkout) -> tuple[subprocess.Popen[str], int]:
    """A first call of which pip has started to install; and pip's process."""
    call = subprocess.Popen(
        checkout.command("--version"), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for process, line in processes_of(checkout).items():
            if "-m pip" in line and " install " in line:
                return call, process
        time.sleep(0.01)
    raise AssertionError(f"pip was not started within {PATIENCE} s")


def test_pip_is_killed(checkout: Checkout) -> None:
    call, pip = start_until_pip(checkout)
    os.kill(pip, signal.SIGKILL)
    _, error = call.communicate(timeout=PATIENCE)
    assert call.returncode == 1
    assert "error: the Python environment could not be created" in error
    assert ".venv" not in checkout.files()
    assert ".venv.new" not in checkout.files()
    assert checkout.run("--version").returncode == 0


def test_everything_is_killed(checkout: Checkout) -> None:
    call, _ = start_until_pip(checkout)
    os.killpg(call.pid, signal.SIGKILL)
    call.communicate(timeout=PATIENCE)
    assert checkout.files() >= {".venv.new"}
    again = checkout.run("--version")
    assert again.returncode == 0, again.stderr
    assert ".venv.new" not in checkout.files()


def test_the_call_is_killed_and_its_pip_goes_on(checkout: Checkout) -> None:
    call, pip = start_until_pip(checkout)
    os.kill(pip, signal.SIGSTOP)
    (setup,) = (process for process, line in processes_of(checkout).items() if "bootstrap.py" in line)
    os.kill(setup, signal.SIGKILL)
    again = subprocess.Popen(checkout.command("--version"), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert again.stderr and again.stderr.readline().startswith("Waiting for another process")
    os.kill(pip, signal.SIGCONT)
    call.communicate(timeout=PATIENCE)
    assert again.communicate(timeout=PATIENCE)[0] == "open-balena.sh 0.1.0\n"
    assert ".venv.new" not in checkout.files()


def test_who_can_only_read_the_checkout_cannot_keep_it_from_being_set_up(checkout: Checkout) -> None:
    descriptor = os.open(checkout.directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        done = checkout.run("--version")
    finally:
        os.close(descriptor)
    assert done.returncode == 0 and "Waiting" not in done.stderr, done.stderr
    assert checkout.files() == {"open-balena.sh", "requirements.lock", "src", ".venv"}


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_it_is_told_to_stop(checkout: Checkout, sent: signal.Signals, status: int) -> None:
    call, _ = start_until_pip(checkout)
    os.killpg(call.pid, sent)
    call.communicate(timeout=PATIENCE)
    assert call.returncode in (status, -sent)
    assert not {".venv", ".venv.new"} & checkout.files()
