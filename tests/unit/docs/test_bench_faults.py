"""The table of random faults: which are made, and what of their outcomes stands in it."""

import random
from collections import Counter
from itertools import islice

from faults import FAULTS
from random_faults import rows
from soak import Outcome, Soak, rounds

DEVICES = [frozenset({"a", "b"}), frozenset({"c"}), frozenset({"d"})]
DONE = Soak(
    [
        Outcome("kill a task", 1.0, 4.0, 2, 10, DEVICES[0]),
        Outcome("drain a node", 1.0, 7.0, 1, 20, DEVICES[1]),
        Outcome("kill a task", 1.0, 9.0, 0, 30, DEVICES[2]),
    ],
    frozenset({"a", "b", "c", "d", "e"}),
    Counter({"a": 1, "c": 2, "d": 1, "e": 1, "not acknowledged": 1}),
)


def test_a_row_has_all_times_of_its_fault_and_the_devices_acknowledged_then() -> None:
    assert rows(DONE) == [
        "| kill a task | 2 | 6 s | 9 s | 2 of 40 | 1/0 of 3 |\n",
        "| drain a node | 1 | 7 s | 7 s | 1 of 20 | 0/1 of 1 |\n",
    ]
    assert DONE.lost_and_twice(DONE.acknowledged) == (1, 1)


def test_every_fault_is_made_once_before_any_is_made_again() -> None:
    made = list(islice(rounds(random.Random(1)), 2 * len(FAULTS)))
    assert set(made[: len(FAULTS)]) == set(made[len(FAULTS) :]) == set(FAULTS)
    some = ["kill a task", "drain a node"]
    assert set(islice(rounds(random.Random(1), some), 4)) == set(some)
