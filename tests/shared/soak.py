"""A deployment under load and one fault after the other: what failed, and how soon everything was whole again."""

import random
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from device_load import DeviceLoad, prepared
from faults import FAULTS, Scene
from lab_target import lab_target
from whole import until_whole

from openbalena.base.project import Project

# Seconds between being whole and the next fault.
REST = 2.0


@dataclass(frozen=True)
class Outcome:
    """A fault: how long it lasted and how long after it everything was whole (seconds), failed requests, and devices.

    The `devices` are those whose registration was acknowledged from the fault until everything was whole.
    """

    fault: str
    lasted: float
    whole_after: float
    failed: int
    made: int
    devices: frozenset[str]


@dataclass(frozen=True)
class Soak:
    """All faults, all devices whose registration was acknowledged, and how often each is in the database."""

    outcomes: list[Outcome]
    acknowledged: frozenset[str]
    rows: Counter[str]

    def lost_and_twice(self, devices: frozenset[str]) -> tuple[int, int]:
        """How many of the devices are not in the database, and how many are there more than once."""
        return sum(not self.rows[each] for each in devices), sum(self.rows[each] > 1 for each in devices)


def rounds(draw: random.Random, faults: Iterable[str] = FAULTS) -> Iterator[str]:
    """Names of faults for ever: all in a random order, then again."""
    names = sorted(faults)
    while True:
        yield from draw.sample(names, len(names))


def soak(
    project: Project, seed: int, seconds: float, each: int, bound: float, faults: Collection[str] = FAULTS
) -> Iterator[Soak]:
    """Random faults for `seconds`, and at least `each` of every kind of `faults`: what came of them so far, after each.

    Raises AssertionError if something is not whole `bound` seconds after a fault.
    """
    target, draw = lab_target(project), random.Random(seed)
    outcomes: list[Outcome] = []
    with prepared(target) as load:
        with load.running():
            end = time.monotonic() + seconds
            for name in rounds(draw, faults):
                if time.monotonic() > end and len(outcomes) >= each * len(faults):
                    break
                time.sleep(REST)
                outcomes.append(outcome(name, Scene(project, draw), load, bound))
                print(replace(outcomes[-1], devices=frozenset()), file=sys.stderr, flush=True)
                yield Soak(outcomes, frozenset(load.accepted), load.rows())
        yield Soak(outcomes, frozenset(load.accepted), load.rows())


def outcome(name: str, scene: Scene, load: DeviceLoad, bound: float) -> Outcome:
    """Make the fault and wait until everything is whole."""
    made, failed, before, began = load.made, load.failed, set(load.accepted), time.monotonic()
    FAULTS[name](scene)
    lasted = time.monotonic() - began
    try:
        after = until_whole(load.target, load.fleet.token, bound)
    except AssertionError as error:
        raise AssertionError(f"{name}: {error}") from error
    devices = frozenset(load.accepted - before)
    return Outcome(name, lasted, after, load.failed - failed, load.made - made, devices)
