"""How the number of the api's workers gets into the file that its process takes its environment from."""

import subprocess
from pathlib import Path

import pytest

from openbalena import compose
from openbalena.base.project import ROOT

APPLICATION = "/usr/src/app"


def command(directory: Path, **environment: str) -> list[str]:
    """The api's command with `directory` in the place of the image's application."""
    definitions = compose.load([ROOT / "docker-compose.yml"], environment=environment, profiles=(), interpolate=False)
    words = [str(word) for word in definitions.services["api"]["command"]]
    number = environment.get("API_WORKERS", "1")
    return [word.replace("${API_WORKERS:-1}", number).replace(APPLICATION, str(directory)) for word in words]


# What the template leaves, what an image without the line would, and what a container's last start left.
@pytest.mark.parametrize(
    "there", ["NUM_WORKERS=\nPORT=80\n", "PORT=80\n", "PORT=80\nNUM_WORKERS=7\n", "XNUM_WORKERS=5\n"]
)
def test_the_number_is_there_once_however_often_it_starts(tmp_path: Path, there: str) -> None:
    (tmp_path / "config").mkdir()
    env = tmp_path / "config" / "env"
    env.write_text(there)
    (tmp_path / "entry.sh").write_text(f'#!/bin/sh\necho "$$" >{tmp_path}/process\n')
    (tmp_path / "entry.sh").chmod(0o755)
    others = [line for line in there.splitlines() if not line.startswith("NUM_WORKERS=")]
    for number in ("1", "1", "4"):
        with subprocess.Popen(command(tmp_path, API_WORKERS=number)) as process:
            assert process.wait(20) == 0
        assert env.read_text().splitlines() == [*others, f"NUM_WORKERS={number}"]
        # The image's own command takes the shell's place, and so gets the signals.
        assert int((tmp_path / "process").read_text()) == process.pid


def test_without_the_image_s_file_it_ends_with_a_reason(tmp_path: Path) -> None:
    run = subprocess.run(command(tmp_path), capture_output=True, text=True, timeout=20)
    assert run.returncode != 0
    assert "config/env" in run.stderr
