"""When a service counts as converged."""

import pytest
from cluster_builders import OLD, TEMPLATE, cluster, node, service, task
from hypothesis import given
from hypothesis import strategies as st

from openbalena.swarm.convergence import Phase, cluster_progress, desired_tasks, service_progress, wanted_replicas
from openbalena.swarm.state import Task

STATES = ["new", "pending", "assigned", "preparing", "ready", "starting", "running", "complete", "shutdown", "failed"]


@pytest.mark.parametrize(
    ("update", "phase"),
    [
        ("", Phase.CONVERGED),
        ("completed", Phase.CONVERGED),
        ("updating", Phase.WORKING),
        ("rollback_started", Phase.WORKING),
        ("rollback_completed", Phase.ROLLED_BACK),
        ("rollback_paused", Phase.FAILED),
        ("paused", Phase.FAILED),
    ],
)
def test_the_phase_while_every_task_runs(update: str, phase: Phase) -> None:
    api = service(update_state=update)
    assert service_progress(api, cluster([api], [task(1)])).phase is phase
    assert phase.serves is (update in ("", "completed", "rollback_completed"))


def test_a_rollback_whose_tasks_do_not_run_has_failed() -> None:
    api = service(update_state="rollback_completed", replicas=2)
    assert service_progress(api, cluster([api], [task(1)])).phase is Phase.FAILED


def test_an_update_whose_tasks_all_run_says_what_it_waits_for() -> None:
    api = service(update_state="updating", replicas=2)
    assert "monitoring" in service_progress(api, cluster([api], [task(1), task(2, node_id="n2")])).detail
    assert service_progress(api, cluster([api], [task(1), task(2, state="starting")])).detail == "updating"


def test_a_rollback_is_not_called_an_update() -> None:
    api = service(update_state="rollback_started")
    for tasks in ([task(1)], []):
        assert service_progress(api, cluster([api], tasks)).detail == "rolling back"


@pytest.mark.parametrize(("message", "detail"), [("", "is paused"), ("update paused", "is paused: update paused")])
def test_a_failed_update_is_described_with_the_message_of_the_engine(message: str, detail: str) -> None:
    api = service(update_state="paused", update_message=message)
    assert service_progress(api, cluster([api], [])).detail == f"the update failed and {detail}"


@pytest.mark.parametrize(
    ("tasks", "detail"),
    [
        ([], "no task yet"),
        ([task(1, state="pending")], "pending"),
        ([task(1, state="assigned", error="no route")], "assigned: no route"),
        # The newest one that should run and does not.
        ([task(1, state="starting"), task(2, state="preparing")], "preparing"),
        ([task(1, state="starting"), task(2)], "starting"),
        ([task(1, state="starting"), task(2, state="shutdown", desired="shutdown")], "starting"),
        ([task(1, state="shutdown", desired="shutdown")], "no task yet"),
        # Tasks of an earlier spec are running.
        ([task(1, spec=OLD)], "no task yet"),
    ],
)
def test_what_a_service_that_has_too_few_tasks_waits_for(tasks: list[Task], detail: str) -> None:
    api = service(replicas=5)
    assert service_progress(api, cluster([api], tasks)).detail == detail


@pytest.mark.parametrize(
    ("part", "counts"),
    [
        ("ContainerSpec", False),
        ("Resources", False),
        ("RestartPolicy", False),
        ("LogDriver", False),
        ("ForceUpdate", False),
        ("Networks", False),
        ("Placement", True),
    ],
)
def test_a_task_with_another_part_of_the_spec_is_replaced_unless_it_is_the_placement(
    part: str, *, counts: bool
) -> None:
    assert desired_tasks(service(), task(1, spec={**service().template, part: {"other": 1}})) is counts


def test_progress_names_the_tasks_that_count() -> None:
    api = service(replicas=2)
    there = cluster([api, service("db")], [task(1), task(2, spec=OLD), task(3, node_id="gone"), task(4, node_id="n2")])
    (first, second) = cluster_progress(there)
    assert (first.running, first.wanted, first.task_ids) == (2, 2, frozenset({"t1", "t4"}))
    assert (second.service.short_name, second.running) == ("db", 0)


@pytest.mark.parametrize(("only", "names"), [((), ["api", "db"]), (["ob_db"], ["db"]), (["ob_x"], []), (["db"], [])])
def test_progress_of_some_services(only: list[str], names: list[str]) -> None:
    found = cluster_progress(cluster([service(), service("db")], []), only)
    assert [progress.service.short_name for progress in found] == names


def test_tasks_of_the_spec_before_do_not_count() -> None:
    api = service()
    progress = service_progress(api, cluster([api], [task(1, spec=OLD)]))
    assert (progress.phase, progress.running) == (Phase.WORKING, 0)


def test_tasks_on_a_node_that_is_down_do_not_count() -> None:
    api = service()
    there = cluster([api], [task(1, node_id="n2")], [node(1), node(2, state="down")])
    assert service_progress(api, there).phase is Phase.WORKING


def test_a_starting_task_has_not_passed_its_health_check() -> None:
    api = service()
    assert service_progress(api, cluster([api], [task(1, state="starting")])).detail == "starting"


def test_a_global_service_wants_a_task_on_each_node_that_fits_and_is_usable() -> None:
    nodes = [
        node(1, labels={"openbalena.ingress": "true"}),
        node(2, labels={"openbalena.ingress": "true"}, availability="drain"),
        node(3),
    ]
    front = service("front", replicas=None, constraints=("node.labels.openbalena.ingress == true",))
    assert wanted_replicas(front, cluster([front], [], nodes)) == 1
    assert wanted_replicas(service(replicas=0), cluster([], [], nodes)) == 0


@given(st.lists(st.tuples(st.sampled_from(STATES), st.booleans(), st.booleans()), max_size=8), st.integers(0, 4))
def test_converged_means_enough_wanted_running_tasks_of_the_present_spec(
    states: list[tuple[str, bool, bool]], replicas: int
) -> None:
    api = service(replicas=replicas)
    tasks = [
        task(i, state=state, desired="running" if keep else "shutdown", spec=TEMPLATE if new else OLD)
        for i, (state, keep, new) in enumerate(states)
    ]
    enough = sum(state == "running" and keep and new for state, keep, new in states) >= replicas
    assert (service_progress(api, cluster([api], tasks)).phase is Phase.CONVERGED) == enough
