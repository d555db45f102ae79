"""When a service counts as converged."""

import pytest
from cluster_builders import OLD, TEMPLATE, cluster, node, service, task
from hypothesis import given
from hypothesis import strategies as st

from openbalena.swarm.convergence import Phase, service_progress, wanted_replicas

STATES = ["new", "pending", "assigned", "preparing", "ready", "starting", "running", "complete", "shutdown", "failed"]


@pytest.mark.parametrize(
    ("update", "phase"),
    [
        ("", Phase.CONVERGED),
        ("completed", Phase.CONVERGED),
        ("updating", Phase.WORKING),
        ("rollback_started", Phase.WORKING),
        ("rollback_completed", Phase.FAILED),
        ("rollback_paused", Phase.FAILED),
        ("paused", Phase.FAILED),
    ],
)
def test_a_rollback_is_a_failure_although_every_task_runs(update: str, phase: Phase) -> None:
    api = service(update_state=update)
    assert service_progress(api, cluster([api], [task(1)])).phase is phase


def test_an_update_whose_tasks_all_run_says_what_it_waits_for() -> None:
    api = service(update_state="updating", replicas=2)
    assert "monitoring" in service_progress(api, cluster([api], [task(1), task(2, node_id="n2")])).detail
    assert service_progress(api, cluster([api], [task(1), task(2, state="starting")])).detail == "updating"


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
