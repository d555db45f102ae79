"""An update that failed for a fault of the Engine alone is asked for again, three times in all."""

import pytest
from cluster_builders import cluster, service, task
from fake_engine import FakeEngine
from fake_swarm import Row, stack_service

from openbalena.base.errors import OperationError
from openbalena.swarm import deploy_retry

PASSES = "unable to remount dir as readonly: device or resource busy"


def failing(fake: FakeEngine, error: str, succeeds_at: int) -> tuple[list[str], list[str]]:
    """What `after_faults` was told, and the calls, where an update fails with `error` until the last of them."""
    calls: list[str] = []
    said: list[str] = []
    fake.swarm.node("node1", "manager")

    def attempt() -> str:
        calls.append("call")
        for identifier in list(fake.swarm.services):
            fake.swarm.remove("services", identifier)
        good = len(calls) >= succeeds_at
        fake.swarm.fates["ob_api"] = [[Row(0, "running")] if good else [Row(0, "rejected", error)], [Row(0, "running")]]
        made = fake.swarm.create("services", stack_service("api"))
        if good:
            return "done"
        fake.swarm.services[made]["UpdateStatus"] = {"State": "rollback_completed", "Message": "update paused"}
        raise OperationError("the update of api failed")

    with fake.engine.client() as client:
        try:
            assert deploy_retry.retry_transient(client, "ob", attempt, said.append) == "done"
        except OperationError as error_:
            said.append(str(error_))
    return calls, said


@pytest.mark.parametrize(("succeeds_at", "calls"), [(1, 1), (2, 2), (3, 3)])
def test_an_update_is_asked_for_three_times_at_most(fake: FakeEngine, succeeds_at: int, calls: int) -> None:
    made, said = failing(fake, PASSES, succeeds_at)
    assert len(made) == calls and len(said) == calls - 1
    assert said == [f"api on node1: {PASSES}\n  transient Docker error, retrying …"] * (calls - 1)


def test_the_third_failure_is_told(fake: FakeEngine) -> None:
    made, said = failing(fake, PASSES, 4)
    assert len(made) == 3 and said[-1] == "the update of api failed"


def test_a_fault_of_the_users_own_is_told_at_once(fake: FakeEngine) -> None:
    made, said = failing(fake, "task: non-zero exit (1)", 2)
    assert len(made) == 1 and said == ["the update of api failed"]


def test_the_fault_that_is_told_is_the_most_frequent_one_of_the_first_service() -> None:
    names = {"api": ("b", "b", "a"), "vpn": ("c", "c", "c", "c")}
    services = [service(name, update_state="rollback_completed") for name in names]
    tasks = [
        task(number, name, state="failed", error=f"{fault}: {PASSES}")
        for name, faults in names.items()
        for number, fault in enumerate(faults, ord(name[0]))
    ]
    found = deploy_retry.transient_failure(cluster([service("db"), *services], [task(1, "db"), *tasks]), frozenset())
    assert found is not None and (found.error, found.count, found.services) == (f"b: {PASSES}", 2, ("api",))
    assert deploy_retry.transient_failure(cluster([service("db")], [task(1, "db")]), frozenset()) is None
