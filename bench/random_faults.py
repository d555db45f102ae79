"""Random faults of a deployment under load: does everything become whole again by itself, and is a row lost?

    sudo .venv.dev/bin/python bench/random_faults.py [MINUTES [SEED]]

Deploys the demo on a lab of its own, and removes it. For MINUTES (default 30), and at least five times each, tasks and
nodes fail, are replaced and drained at random (tests/shared/faults.py), while clients read and write as in
bench/rolls.py. Writes the results to docs/failures.md; exit status 1 if a row was lost or is there twice, or if
something was not whole within five minutes of a fault.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT / "src"), str(ROOT / "tests" / "shared")]

from bench_page import deployed_demo, write_table  # noqa: E402
from faults import FAULTS  # noqa: E402
from soak import Soak, soak  # noqa: E402

# Of each kind; seconds until everything has to be whole after a fault.
EACH, BOUND = 5, 300
HEAD = "| fault | times | whole after: median | longest | requests failed |\n|---|---|---|---|---|\n"


def rows(done: Soak) -> list[str]:
    """The table's rows, and a last one with the rows of the database."""
    found = []
    for fault in FAULTS:
        these = [each for each in done.outcomes if each.fault == fault]
        after = [each.whole_after for each in these]
        failed, made = sum(each.failed for each in these), sum(each.made for each in these)
        found.append(
            f"| {fault} | {len(these)} | {statistics.median(after):.0f} s | {max(after):.0f} s | {failed} of {made} |\n"
        )
    return [*found, f"\nDevices: {done.acknowledged} acknowledged, {done.lost} lost, {done.twice} there twice.\n"]


def main() -> int:
    """Exit status 1 if a row was lost or is there twice."""
    minutes, seed = [*map(int, sys.argv[1:]), *(30, 1)[len(sys.argv) - 1 :]]
    with deployed_demo() as project:
        done = soak(project, seed, 60 * minutes, EACH, BOUND)
    write_table("bench/random_faults.py", HEAD, rows(done))
    print(*rows(done), sep="", end="")
    return int((done.lost, done.twice) != (0, 0))


if __name__ == "__main__":
    sys.exit(main())
