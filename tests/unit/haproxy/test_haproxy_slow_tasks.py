"""A task that is slow for a moment is not taken out; one that is gone is, at once."""

import http.client
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from front_door import ADDRESS, SECOND, TLD, FrontDoor
from waiting import eventually

# Of two tasks, of one task whose check asks, and of one whose check only connects.
HOSTS = ("api", "s3", "ocsp", "registry2", "cloudlink")
# Requests are begun this many seconds apart, to each host.
PACE = 0.1


@pytest.fixture
def door(program: list[str], chain: Path, tmp_path: Path) -> Iterator[FrontDoor]:
    """A front door of the test's own, since its services are stopped."""
    with FrontDoor(program, tmp_path, chain) as running:
        yield running


def status(door: FrontDoor, host: str, method: str) -> str:
    """What a client is told, or what became of its connection."""
    try:
        return str(door.request(f"{host}.{TLD}", method=method)[0])
    except (OSError, http.client.HTTPException) as error:
        return repr(error)


@contextmanager
def asked(door: FrontDoor, *hosts: str, method: str = "GET") -> Iterator[dict[str, Counter[str]]]:
    """Requests without a pause, each host's in its own time; the answers are there when the block has ended."""
    answers: dict[str, Counter[str]] = {host: Counter() for host in hosts}
    begun: list[tuple[str, Future[str]]] = []
    stop = threading.Event()
    with ThreadPoolExecutor(200) as threads:

        def ask() -> None:
            while not stop.wait(PACE):
                begun.extend((host, threads.submit(status, door, host, method)) for host in hosts)

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            yield answers
        finally:
            stop.set()
            asking.join()
    for host, answer in begun:
        answers[host][answer.result()] += 1


def log(door: FrontDoor) -> str:
    return (door.directory / "log").read_text()


def test_every_task_may_be_slow_for_a_moment_at_once(door: FrontDoor) -> None:
    with asked(door, *HOSTS) as answers:
        for _ in range(3):
            door.runs.clear()
            time.sleep(1.5)
            door.runs.set()
            time.sleep(0.5)
    assert {host: set(counts) for host, counts in answers.items()} == {host: {"200"} for host in HOSTS}
    assert min(counts.total() for counts in answers.values()) > 20
    assert " is DOWN" not in log(door)


def test_the_only_task_may_refuse_for_a_moment(door: FrontDoor) -> None:
    with asked(door, "s3", method="POST") as answers:
        time.sleep(0.5)
        door.refuse("s3:80")
        time.sleep(0.7)
        door.listen("s3:80", ADDRESS, [])
        time.sleep(1)
    assert set(answers["s3"]) == {"200"}, answers


def test_of_two_tasks_the_one_that_is_gone_is_out_at_once(door: FrontDoor) -> None:
    with asked(door, "api", method="POST") as answers:
        time.sleep(0.5)
        door.refuse(f"api:80 at {SECOND}")
        eventually("one api task is out", lambda: "Server api/task" in log(door) and " is DOWN" in log(door), 3)
    assert set(answers["api"]) == {"200"}, answers
    assert "backend api has no server" not in log(door)
