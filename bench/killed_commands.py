"""Kill each command that changes files at each change: nothing may be lost, and rerunning the command must complete it.

    .venv.dev/bin/python bench/killed_commands.py

Prints one line per command with the number of points that were tried, and the failures. Takes about ten minutes.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT / "src"), str(ROOT / "tests" / "shared")]


def main() -> int:
    """Exit status 1 if something was lost or could not be completed."""
    import kill_points

    os.environ["PATH"] = "/nonexistent"  # no docker
    wrong = 0
    for command in kill_points.COMMANDS:
        with tempfile.TemporaryDirectory() as scratch:
            begun, project = Path(scratch) / "begun", Path(scratch) / "project"
            begun.mkdir()
            kill_points.points(begun, ("config", "--dns-tld", kill_points.DOMAIN, "--yes"))
            command.prepare(begun)
            before = kill_points.variables(begun)
            count = kill_points.points(Path(shutil.copytree(begun, Path(scratch) / "whole")), command.words)
            for point in range(count):
                shutil.copytree(begun, project)
                kill_points.run(project, command.words, point)
                try:
                    kill_points.check_after_kill(project, command, before)
                except AssertionError as error:
                    wrong += 1
                    print(f"{command.name}, point {point}: {error}", flush=True)
                shutil.rmtree(project)
            print(f"{command.name}: {count} points", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
