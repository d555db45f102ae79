"""Starting the database alone: what is reported while it does not answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from openbalena.base.errors import OperationError
from openbalena.machine import database


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@contextmanager
def engine_without_containers() -> Iterator[Any]:
    yield SimpleNamespace(api=SimpleNamespace(containers=lambda **_: []))


def test_waiting_for_the_database_is_reported_every_five_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("time.monotonic", clock.monotonic)
    monkeypatch.setattr("time.sleep", clock.sleep)
    started: list[tuple[str, ...]] = []

    def stream(*words: str, limit: float) -> list[str]:
        started.append(words)
        return []

    standalone: Any = SimpleNamespace(
        name="openbalena",
        stream=stream,
        engine=SimpleNamespace(client=engine_without_containers),
    )
    reports: list[str] = []
    with pytest.raises(OperationError, match="db did not answer within 120 s: see ./open-balena.sh logs db"):
        database.start_database(standalone, reports.append)
    assert len(started) == 1 and started[0][-2:] == ("--no-deps", "db")
    assert len(reports) == 23 and reports[0].startswith("waiting for db") and "5 s" in reports[0]
    assert "115 s" in reports[-1]
