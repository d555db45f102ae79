"""A command that is killed while it changes files: nothing is lost, and the same command ends what was begun.

A seeded sample of the points; bench/killed_commands.py tries every one.
"""

import random
import shutil
from pathlib import Path

import kill_points
import pytest
from kill_points import COMMANDS, Killed

from openbalena.settings.variables import variables

SEED = 19
POINTS = 5


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (*variables(), "OPEN_BALENA_LAB", "DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_killed_command_loses_nothing_and_is_finished_by_the_next(
    made: Path, tmp_path: Path, command: Killed
) -> None:
    begun = Path(shutil.copytree(made, tmp_path / "begun"))
    command.prepare(begun)
    before = kill_points.variables(begun)
    count = kill_points.points(Path(shutil.copytree(begun, tmp_path / "whole")), command.words)
    assert count > 1
    for point in random.Random(f"{SEED} {command.name}").sample(range(count), min(POINTS, count)):
        project = Path(shutil.copytree(begun, tmp_path / f"killed{point}"))
        assert kill_points.run(project, command.words, point) == -9, point
        kill_points.check_after_kill(project, command, before)
