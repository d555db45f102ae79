"""Random faults of a deployment under load: does everything become whole again by itself, and is a row lost?

    sudo .venv.dev/bin/python bench/random_faults.py [--minutes N] [--each N] [--seed N] [FAULT …]

Deploys the demo on a lab of its own, and removes it. Tasks and nodes fail, are replaced and drained at random, disks
become full and slow (tests/shared/faults.py), while clients read and write as in bench/rolls.py: all faults or those
that are named, each at least five times (--each), for at least 30 minutes (--minutes) if all of them are made. The
results replace those of the same faults in docs/failures.md. Exit status 1 if a row was lost or is there twice, or if
something was not whole within five minutes of a fault.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT / "src"), str(ROOT / "tests" / "shared")]

from bench_page import deployed_demo, write_table  # noqa: E402
from faults import FAULTS  # noqa: E402
from soak import Soak, soak  # noqa: E402

# Seconds until everything has to be whole after a fault.
BOUND = 300
HEAD = (
    "| fault | times | whole after: median | longest | requests failed | rows lost/twice |\n|---|---|---|---|---|---|\n"
)


def rows(done: Soak) -> list[str]:
    """The table's rows, one for each fault that was made."""
    return [row(name, done) for name in FAULTS if any(each.fault == name for each in done.outcomes)]


def row(fault: str, done: Soak) -> str:
    """The row of one fault, over all the times that it was made."""
    these = [each for each in done.outcomes if each.fault == fault]
    after = [each.whole_after for each in these]
    devices = frozenset[str]().union(*(each.devices for each in these))
    lost, twice = done.lost_and_twice(devices)
    return (
        f"| {fault} | {len(these)} | {statistics.median(after):.0f} s | {max(after):.0f} s | "
        f"{sum(each.failed for each in these)} of {sum(each.made for each in these)} | "
        f"{lost}/{twice} of {len(devices)} |\n"
    )


def main() -> int:
    """Exit status 1 if a row was lost or is there twice."""
    parser = argparse.ArgumentParser(prog="bench/random_faults.py")
    parser.add_argument("faults", nargs="*", metavar="FAULT", default=[*FAULTS])
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--each", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    if unknown := set(asked.faults) - FAULTS.keys():
        parser.error(f"no such fault: {', '.join(unknown)}: expected {', '.join(FAULTS)}")
    minutes = asked.minutes if asked.minutes is not None else 30 if len(asked.faults) == len(FAULTS) else 0
    with deployed_demo() as project:
        for done in soak(project, asked.seed, 60 * minutes, asked.each, BOUND, asked.faults):
            # Each time, because the run takes long.
            write_table("bench/random_faults.py", HEAD, rows(done), list(FAULTS))
    print(*rows(done), sep="", end="")
    return int(done.lost_and_twice(done.acknowledged) != (0, 0))


if __name__ == "__main__":
    sys.exit(main())
