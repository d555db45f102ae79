"""When a watch ends, and how."""

import pytest
from cluster_builders import OLD, cluster, service, task
from fake_engine import FakeEngine
from fake_swarm import Row, stack_service

from openbalena.swarm.watch import (
    PERMANENT_ERROR_GRACE,
    STABILITY_WINDOW,
    Watch,
    preexisting_task_ids,
    wait_until_converged,
)

API = service()


def test_new_tasks_have_to_stay_up_for_a_while() -> None:
    watch = Watch(timeout=600, started=0)
    there = cluster([API], [task(1)])
    assert watch.observe(there, 10) is None
    assert watch.observe(there, 10 + STABILITY_WINDOW - 0.1) is None
    outcome = watch.observe(there, 10 + STABILITY_WINDOW)
    assert outcome is not None and not outcome.reason


def test_a_task_that_crashes_meanwhile_starts_the_wait_anew() -> None:
    watch = Watch(timeout=600, started=0)
    assert watch.observe(cluster([API], [task(1)]), 1) is None
    assert watch.observe(cluster([API], [task(1, state="failed", desired="shutdown", error="x")]), 3) is None
    assert watch.observe(cluster([API], [task(2)]), 4) is None
    assert watch.observe(cluster([API], [task(2)]), 1 + STABILITY_WINDOW) is None
    assert watch.observe(cluster([API], [task(2)]), 4 + STABILITY_WINDOW) is not None


def test_another_set_of_tasks_starts_the_wait_anew() -> None:
    """A task that replaces a crashed one between two looks: at both the service has converged."""
    watch = Watch(timeout=600, started=0)
    assert watch.observe(cluster([API], [task(1)]), 1) is None
    crashed = task(1, state="failed", desired="shutdown", error="x")
    assert watch.observe(cluster([API], [crashed, task(2)]), 3) is None
    assert watch.observe(cluster([API], [crashed, task(2)]), 1 + STABILITY_WINDOW) is None
    assert watch.observe(cluster([API], [crashed, task(2)]), 3 + STABILITY_WINDOW) is not None


def test_a_moment_of_not_running_starts_the_wait_anew() -> None:
    watch = Watch(timeout=600, started=0)
    assert watch.observe(cluster([API], [task(1)]), 1) is None
    assert watch.observe(cluster([service(update_state="updating")], [task(1)]), 3) is None
    assert watch.observe(cluster([API], [task(1)]), 4) is None
    assert watch.observe(cluster([API], [task(1)]), 1 + STABILITY_WINDOW) is None


def test_tasks_that_ran_before_the_deploy_need_no_wait() -> None:
    watch = Watch(timeout=600, started=0, known=frozenset({"t1"}))
    outcome = watch.observe(cluster([API], [task(1)]), 0.1)
    assert outcome is not None and not outcome.reason


def test_a_stack_without_services_has_not_converged() -> None:
    assert Watch(timeout=600, started=0).observe(cluster([], []), 1) is None


def test_the_time_limit() -> None:
    watch = Watch(timeout=20, started=100)
    there = cluster([API], [task(1, state="starting")])
    assert watch.observe(there, 119.9) is None
    outcome = watch.observe(there, 120)
    assert outcome is not None and "20 s" in outcome.reason


def test_a_rollback_ends_the_watch_when_it_is_done() -> None:
    watch = Watch(timeout=600, started=0)
    going = service(update_state="rollback_started")
    assert watch.observe(cluster([going], [task(1, spec=OLD)]), 5) is None
    # It has failed, although all tasks run again.
    outcome = watch.observe(cluster([service(update_state="rollback_completed")], [task(1)]), 9)
    assert outcome is not None and "update of api failed" in outcome.reason


@pytest.mark.parametrize(
    ("update", "state", "ended"),
    [
        ("rollback_started", "running", False),
        ("rollback_started", "starting", False),
        ("updating", "running", True),
        ("updating", "starting", True),
        ("", "starting", True),
        ("", "preparing", True),
        ("", "running", True),
        ("rollback_paused", "running", True),
    ],
)
def test_a_failed_update_ends_the_watch_unless_another_is_being_rolled_back(
    update: str, state: str, *, ended: bool
) -> None:
    failed, other = service("db", update_state="rollback_completed"), service("vpn", update_state=update)
    there = cluster([API, failed, other], [task(1), task(2, "db"), task(3, "vpn", state=state)])
    outcome = Watch(timeout=600, started=0).observe(there, 5)
    names = "db, vpn" if update == "rollback_paused" else "db"
    assert (outcome and outcome.reason) == (f"the update of {names} failed" if ended else None)


def test_each_permanent_error_has_its_own_time() -> None:
    watch = Watch(timeout=600, started=0)
    resources = "no suitable node (insufficient resources on 3 nodes)"
    first, second = (
        cluster([API], [task(1, state="pending", error=error)]) for error in (resources, "No such image: a:1")
    )
    assert watch.observe(first, 1) is None
    assert watch.observe(second, 20) is None
    assert watch.observe(second, 1 + PERMANENT_ERROR_GRACE) is None
    assert watch.observe(second, 20 + PERMANENT_ERROR_GRACE) is not None


def test_a_service_without_tasks_of_its_own_has_converged_at_once() -> None:
    """One that was scaled to zero, beside one whose task is older than the deploy."""
    there = cluster([API, service("off", replicas=0)], [task(1)])
    outcome = Watch(timeout=600, started=0, known=frozenset({"t1"})).observe(there, 3)
    assert outcome is not None and not outcome.reason and not outcome.problems


def test_an_error_that_waiting_does_not_heal_ends_the_watch_early_but_not_at_once() -> None:
    watch = Watch(timeout=600, started=0)
    there = cluster([API], [task(1, state="pending", error="no suitable node (insufficient resources on 3 nodes)")])
    assert watch.observe(there, 1) is None
    assert watch.observe(there, PERMANENT_ERROR_GRACE) is None
    outcome = watch.observe(there, 1 + PERMANENT_ERROR_GRACE)
    assert outcome is not None and "permanent error" in outcome.reason


def test_such_an_error_that_went_away_does_not_end_it() -> None:
    watch = Watch(timeout=600, started=0)
    stuck = cluster([API], [task(1, state="pending", error="no suitable node (insufficient resources on 3 nodes)")])
    free = cluster([API], [task(1, state="starting")])
    assert watch.observe(stuck, 1) is None
    assert watch.observe(free, 20) is None
    assert watch.observe(stuck, 30) is None
    assert watch.observe(stuck, 1 + PERMANENT_ERROR_GRACE) is None


def test_failures_from_before_the_deploy_are_not_its_own() -> None:
    watch = Watch(timeout=5, started=0, known=frozenset({"t1"}))
    failed = task(1, state="failed", desired="shutdown", error="task: non-zero exit (1)")
    outcome = watch.observe(cluster([API], [failed, task(2, state="starting")]), 6)
    assert outcome is not None and outcome.problems == []


@pytest.mark.parametrize(
    ("state", "known"),
    [("running", True), ("failed", True), ("rejected", True), ("complete", True), ("orphaned", True)]
    + [("starting", False), ("pending", False), ("preparing", False), ("shutdown", False)],
)
def test_which_tasks_are_older_than_a_deploy(state: str, *, known: bool) -> None:
    """Those that have started; others may still be the deploy's own, as after a retry."""
    found = cluster([API], [task(1, state=state), task(2, state="preparing")])
    assert preexisting_task_ids(found) == ({"t1"} if known else set())


def test_a_stack_is_watched_until_its_tasks_have_stayed_up(fake: FakeEngine) -> None:
    fake.swarm.node("node1", "manager")
    crash = [Row(0, "preparing"), Row(3, "running"), Row(6, "failed", "task: non-zero exit (1)", 1)]
    fake.swarm.fates["ob_api"] = [crash, [Row(0, "running")]]
    fake.swarm.create("services", stack_service("api"))
    began = fake.swarm.clock.now
    with fake.engine.client() as client:
        outcome = wait_until_converged(client, "ob", 60, frozenset(), lambda progress: None)
    assert not outcome.reason and fake.swarm.clock.now - began == 6 + STABILITY_WINDOW


def test_progress_is_reported_once_a_second(fake: FakeEngine) -> None:
    fake.swarm.node("node1", "manager")
    fake.swarm.fates["ob_api"] = [[Row(0, "preparing")]]
    fake.swarm.create("services", stack_service("api"))
    seen: list[tuple[float, str]] = []
    with fake.engine.client() as client:
        began = fake.swarm.clock.now
        outcome = wait_until_converged(
            client, "ob", 3, frozenset(), lambda found: seen.append((fake.swarm.clock.now - began, found[0].detail))
        )
    assert outcome.reason == "not converged within 3 s"
    assert seen == [(seconds, "preparing") for seconds in range(4)]


def test_a_task_that_no_node_may_run_ends_the_watch_early(fake: FakeEngine) -> None:
    fake.swarm.node("node1", "manager")
    fake.swarm.create("services", stack_service("api", constraints=["node.labels.x == true"]))
    began = fake.swarm.clock.now
    with fake.engine.client() as client:
        outcome = wait_until_converged(client, "ob", 600, frozenset(), lambda progress: None)
    assert outcome.reason == "a permanent error" and fake.swarm.clock.now - began == PERMANENT_ERROR_GRACE


@pytest.mark.parametrize(("only", "ends"), [((), False), (("ob_api",), True)])
def test_the_next_stage_does_not_wait_for_tasks_that_swarm_has_monitored(only: tuple[str, ...], *, ends: bool) -> None:
    watch = Watch(timeout=600, started=0, only=only)
    outcome = watch.observe(cluster([service(update_state="completed")], [task(1)]), 1)
    assert (outcome is not None and not outcome.reason) is ends


def test_only_the_named_services_are_watched(fake: FakeEngine) -> None:
    fake.swarm.node("node1", "manager")
    fake.swarm.create("services", stack_service("api"))
    fake.swarm.create("services", stack_service("db", constraints=["node.labels.x == true"]))
    seen: list[list[str]] = []
    with fake.engine.client() as client:
        outcome = wait_until_converged(
            client,
            "ob",
            60,
            frozenset(),
            lambda progress: seen.append([item.service.short_name for item in progress]),
            ["ob_api"],
        )
    assert not outcome.reason and [item.service.short_name for item in outcome.progress] == ["api"]
    assert all(names == ["api"] for names in seen)
