"""A deployment under load and one fault after the other: what failed, and how soon everything was whole again."""

import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from device_load import DeviceLoad, prepared
from faults import FAULTS, Scene
from lab_target import lab_target
from whole import until_whole

from openbalena.base.project import Project

# Seconds between being whole and the next fault.
REST = 2.0


@dataclass(frozen=True)
class Outcome:
    """A fault: how long it lasted and how long after it everything was whole (seconds), failed requests."""

    fault: str
    lasted: float
    whole_after: float
    failed: int
    made: int


@dataclass(frozen=True)
class Soak:
    """All faults, and the acknowledged devices: how many there were, how many are missing, and how many twice."""

    outcomes: list[Outcome]
    acknowledged: int
    lost: int
    twice: int


def rounds(draw: random.Random) -> Iterator[str]:
    """Names of faults for ever: all in a random order, then again."""
    while True:
        yield from draw.sample(sorted(FAULTS), len(FAULTS))


def soak(project: Project, seed: int, seconds: float, each: int, bound: float) -> Soak:
    """Random faults for `seconds`, and at least `each` of every kind.

    Raises AssertionError if something is not whole `bound` seconds after a fault.
    """
    target, draw = lab_target(project), random.Random(seed)
    outcomes: list[Outcome] = []
    with prepared(target) as load:
        with load.running():
            end = time.monotonic() + seconds
            for name in rounds(draw):
                if time.monotonic() > end and len(outcomes) >= each * len(FAULTS):
                    break
                time.sleep(REST)
                outcomes.append(outcome(name, Scene(project, draw), load, bound))
                print(outcomes[-1], file=sys.stderr, flush=True)
        lost, twice = load.lost_and_twice()
    return Soak(outcomes, len(load.accepted), lost, twice)


def outcome(name: str, scene: Scene, load: DeviceLoad, bound: float) -> Outcome:
    """Make the fault and wait until everything is whole."""
    made, failed, began = load.made, load.failed, time.monotonic()
    FAULTS[name](scene)
    lasted = time.monotonic() - began
    try:
        after = until_whole(load.target, load.fleet.token, bound)
    except AssertionError as error:
        raise AssertionError(f"{name}: {error}") from error
    return Outcome(name, lasted, after, load.failed - failed, load.made - made)
