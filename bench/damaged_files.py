"""Calls each command with each file that it reads replaced in each way: no hang, no traceback, no secret shown.

    .venv.dev/bin/python bench/damaged_files.py

Prints what is wrong, and how many cases were tried; exit status 1 where anything is wrong. Some ten minutes.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT / "src"), str(ROOT / "tests" / "shared")]


def main() -> int:
    """Exit status 1 where a case is wrong."""
    import hostile_files
    import kill_points

    os.environ["PATH"] = "/nonexistent"  # no docker
    wrong = 0
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "made"
        made.mkdir()
        kill_points.points(made, ("config", "--dns-tld", kill_points.DOMAIN, "--yes"))
        cases = hostile_files.cases(made)
        for case in cases:
            project = Path(scratch) / "project"
            if found := hostile_files.try_case(made, project, case):
                wrong += 1
                print(f"{case}: {found}", flush=True)
            shutil.rmtree(project)
    print(f"{len(cases)} cases, {wrong} wrong")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
