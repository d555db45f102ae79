"""A file that is not what it should be: each command ends, plainly, and says which; a seeded sample of all cases.

bench/damaged_files.py tries every one.
"""

import random
from pathlib import Path

import hostile_files
import pytest

from openbalena.settings.variables import variables

SEED = 19
SAMPLE = 40


def test_no_file_makes_a_command_hang_or_break(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*variables(), "OPEN_BALENA_LAB", "DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    wrong = {}
    for number, case in enumerate(random.Random(SEED).sample(hostile_files.cases(made), SAMPLE)):
        if found := hostile_files.try_case(made, tmp_path / str(number), case):
            wrong[str(case)] = found
    assert not wrong
