"""Run every command with every file that it reads damaged in every way: no hang, no traceback, no secret shown.

    .venv.dev/bin/python bench/damaged_files.py

Prints the failures and the number of cases; exit status 1 if there were failures. Takes about ten minutes.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT / "src"), str(ROOT / "tests" / "shared")]


def main() -> int:
    """Exit status 1 if a case failed."""
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
            if problem := hostile_files.try_case(made, project, case):
                wrong += 1
                print(f"{case}: {problem}", flush=True)
            shutil.rmtree(project)
    print(f"{len(cases)} cases, {wrong} failed")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
