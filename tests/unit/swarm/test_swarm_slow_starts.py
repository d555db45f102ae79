"""What the progress says of tasks that do not become healthy."""

from collections.abc import Callable

import pytest
from fake_engine import FakeEngine
from fake_swarm import Row, stack_service

from openbalena.swarm import slow_starts
from openbalena.swarm.slow_starts import PATIENCE, SlowStarts
from openbalena.swarm.watch import wait_until_converged

PASSWORD = 'FATAL: password authentication failed for user "docker"'


@pytest.fixture
def details(fake: FakeEngine) -> Callable[[float], list[str]]:
    """Wait so many seconds for the stack of one api task that is starting; returns the details, each once."""
    fake.swarm.node("node1", "manager")
    fake.swarm.fates = {"ob_api": [[Row(0, "starting")]]}
    fake.swarm.create("services", stack_service("api"))

    def wait(seconds: float) -> list[str]:
        seen: dict[str, None] = {}
        with fake.engine.client() as client:
            explain = SlowStarts(fake.engine, lambda line: line.replace("docker", "…")).explain
            wait_until_converged(
                client, "ob", seconds, frozenset(), lambda found: seen.update({found[0].detail: None}), (), explain
            )
        return list(seen)

    return wait


def checked(fake: FakeEngine, code: int, output: str) -> None:
    run = {"ExitCode": code, "Output": output}
    fake.container(next(iter(fake.swarm.tasks)), Health={"Status": "starting", "FailingStreak": 0, "Log": [run]})


def test_a_slow_task_is_explained_long_before_the_time_limit(
    fake: FakeEngine, details: Callable[[float], list[str]]
) -> None:
    fake.swarm.logs = {"ob_api": ["starting", PASSWORD]}
    checked(fake, 7, "first\nconnection refused\n")
    assert details(PATIENCE - 1) == ["starting"]
    assert details(PATIENCE) == [
        "starting",
        "starting; not healthy yet on node1: its health check says: connection refused; "
        'its log says: FATAL: password authentication failed for user "…"',
    ]


def test_what_has_nothing_to_say_is_not_explained(fake: FakeEngine, details: Callable[[float], list[str]]) -> None:
    checked(fake, 0, "fine")
    assert details(PATIENCE + 5) == ["starting"]


def test_a_long_line_is_cut(fake: FakeEngine, details: Callable[[float], list[str]]) -> None:
    fake.swarm.logs = {"ob_api": ["x" * 161]}
    assert details(PATIENCE)[1] == f"starting; not healthy yet on node1: its log says: {'x' * 159}…"


def test_it_is_read_again_after_a_while_and_not_before(
    fake: FakeEngine, details: Callable[[float], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def lines(*arguments: object) -> list[str]:
        asked.append("log")
        return [f"attempt {len(asked)}"]

    monkeypatch.setattr(slow_starts, "last_lines", lines)
    seen = details(PATIENCE + 35)
    assert [text.rpartition(" ")[2] for text in seen[1:]] == ["1", "2"] and len(asked) == 2
