"""Waiting for a state: until when, how often, and what is reported meanwhile."""

import time

import pytest

from openbalena.base.polling import elapsed_reporter, poll


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "sleep", self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)


def test_polling_ends_with_the_first_accepted_result(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, results = Clock(monkeypatch), iter([1, 2, 3])
    assert poll(lambda: next(results), lambda result: result == 2, 10, 0.5) == 2
    assert clock.slept == [0.5]


def test_a_timeout_returns_the_last_result(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, results, pauses = Clock(monkeypatch), iter(range(9)), list[float]()
    assert poll(lambda: next(results), lambda _: False, 2, 1, lambda: pauses.append(clock.now)) == 2
    assert pauses == [0, 1] and clock.slept == [1, 1]


def test_without_time_it_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    assert poll(lambda: "now", lambda _: False, 0, 1) == "now"
    assert clock.slept == []


def test_a_long_wait_is_reported_every_five_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, reports = iter([0.0, 4.9, 5.0, 6.0, 10.2]), list[str]()
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    report_elapsed = elapsed_reporter("copying db-data", reports.append)
    for _ in range(4):
        report_elapsed()
    assert reports == ["copying db-data: 5 s so far", "copying db-data: 10 s so far"]


def test_a_long_wait_is_reported_in_more_detail_where_there_is_some(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, reports, details = iter([0.0, 5.0, 10.0]), list[str](), iter(["", "1 of 2"])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    report_elapsed = elapsed_reporter("copying", reports.append, lambda: next(details))
    for _ in range(2):
        report_elapsed()
    assert reports == ["copying: 5 s so far", "copying: 1 of 2"]
