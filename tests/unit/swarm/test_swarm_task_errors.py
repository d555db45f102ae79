"""Errors of tasks: grouped, named, each with what to do."""

import pytest
from cluster_builders import cluster, service, task
from hypothesis import given
from hypothesis import strategies as st

from openbalena.swarm import task_errors
from openbalena.swarm.convergence import cluster_progress
from openbalena.swarm.deploy_retry import transient_failure
from openbalena.swarm.state import SwarmService, Task
from openbalena.swarm.task_errors import group, normalise_error

HEX = "0123456789abcdef"


@pytest.mark.parametrize(
    ("error", "says", "recoverable"),
    [
        ("no suitable node (scheduling constraints not satisfied on 3 nodes)", "swarm-init", False),
        ("no suitable node (scheduling constraints not satisfied on 2 nodes; 1 node not available for new tasks)",
         "down or drained: bring it back", True),
        ("no suitable node (host-mode port already in use on 2 nodes)", "stop-first", True),
        ("no suitable node (insufficient resources on 3 nodes)", "reservation", False),
        ("no suitable node (unsupported platform on 1 node)", "architecture", False),
        ("No such image: scratch/nothere:1", "swarm-build", False),
        ("pull access denied for x, repository does not exist or may require 'docker login'", "swarm-build", False),
        ("programming external connectivity: listen tcp 0.0.0.0:80: bind: address already in use", "ss -ltnp",
         True),
        ("task: non-zero exit (137): dockerexec: unhealthy container", "health check", True),
        ("task: non-zero exit (137)", "memory", True),
        ("task: non-zero exit (1)", "see its logs", True),
        ("invalid mount config for type \"bind\": bind source path does not exist: /delta-rsync", "create it", False),
        ("failed to mount local volume: mount :/x:/y, data: addr=10.0.0.1: permission denied", "NFS server", True),
        ("failed to create task for container: exec: \"nope\": executable file not found in $PATH",
         "cannot be executed", False),
        ("no suitable node (max replicas per node limit exceed)", "max_replicas_per_node", False),
        ("no suitable node", "down or drained", True),
        ("manifest for a:1 not found: manifest unknown", "cannot pull", False),
        ("Head https://x: unauthorized: incorrect username or password", "docker login", False),
        ("task: non-zero exit (143)", "not ready in time", True),
        ("task: non-zero exit (126)", "cannot be executed", False),
        ("task: non-zero exit (127)", "cannot be executed", False),
        ("task: non-zero exit (128)", "exited with an error", True),
        ("invalid CapAdd: unknown capability", "outside a container", False),
        ("write /x: no space left on device", "docker system prune", True),
        ("could not find network allocation state", "4789/udp", True),
        ("secret ob_x not found", "deploy again", True),
        ("node is down", "bring it back", True),
        ("unable to remount dir as readonly: device or resource busy", "transient", True),
        ("something never seen before", "swarm-logs", True),
    ],
)  # fmt: skip
def test_each_error_has_its_sentence(error: str, says: str, recoverable: bool) -> None:
    found = task_errors.for_error(error)
    assert says in found.hint and found.recoverable is recoverable


@pytest.mark.parametrize(("state", "says"), [("complete", "health check"), ("failed", "swarm-logs SERVICE")])
def test_a_task_without_an_error_is_explained_by_its_state(state: str, says: str) -> None:
    ended = task(1, state=state)
    (problem,) = group(cluster([service()], [ended]), [ended])
    assert says in problem.hint


# As an engine 28.5 said it.
BUSY = (
    "starting container failed: unable to remount dir as readonly: mount tmpfs:/var/lib/docker/containers/"
    "0123456789ab/mounts/secrets, flags: 0x21, data: uid=0,gid=0: device or resource busy"
)


def test_only_an_engines_own_fault_passes() -> None:
    assert task_errors.for_error(BUSY).transient
    assert not task_errors.for_error("failed to mount local volume: mount :/x:/y: device or resource busy").transient
    assert not task_errors.UNKNOWN.transient


def test_one_fault_alone_is_transient() -> None:
    assert [entry.pattern.pattern for entry in task_errors.TABLE if entry.transient] == [
        "unable to remount dir as readonly.*resource busy"
    ]


@pytest.mark.parametrize(
    ("state", "error", "described"),
    [
        ("failed", "why", "why"),
        ("complete", "why", "why"),
        ("complete", "", "ended with exit code 0"),
        ("rejected", "", "task rejected"),
        ("assigned", "", "task assigned"),
    ],
)
def test_a_task_without_an_error_is_described_by_its_state(state: str, error: str, described: str) -> None:
    assert task_errors.error_of(task(1, state=state, error=error)) == described


@pytest.mark.parametrize(
    ("error", "normalised"),
    [
        ("container 0123456789ab  is\n gone ", "container … is gone"),
        ("0123456789a", "0123456789a"),
        ("f" * 64, "…"),
        ("f" * 65, "f" * 65),
        ("task 3n1lv6kpzxqm0c8ti2b4yd7ws failed", "task … failed"),
        ("n" * 24, "n" * 24),
    ],
)
def test_ids_and_spaces_make_no_difference(error: str, normalised: str) -> None:
    assert normalise_error(error) == normalised


def test_problems_are_those_of_unfinished_services_and_new_tasks() -> None:
    services = [service("done", replicas=0), service("api"), service("db")]
    tasks = [task(number, "api", state="failed", error=error) for number, error in enumerate("bab")]
    tasks += [task(5, "done", state="failed", error="c"), task(6, "db"), task(7, "gone", state="failed", error="d")]
    found = cluster(services, tasks)
    problems = task_errors.unfinished_problems(found, cluster_progress(found))
    assert [(each.error, each.count, each.task.id) for each in problems] == [("b", 2, "t2"), ("a", 1, "t1")]
    problems = task_errors.unfinished_problems(found, cluster_progress(found), {"t0"})
    assert [(each.error, each.count) for each in problems] == [("a", 1), ("b", 1)]
    assert [each.error for each in group(found, tasks)] == ["b", "a", "c"]


FAILED = {"state": "failed", "desired": "shutdown"}


def test_how_often_is_told_in_words() -> None:
    found = cluster([service()], [task(number, error="a", **FAILED) for number in (1, 2)])
    (twice,) = group(found, found.tasks)
    (once,) = group(found, found.tasks[:1])
    assert (once.times, twice.times) == ("once", "2 times")


def rolled_back(name: str, number: int, error: str) -> tuple[SwarmService, Task]:
    return service(name, update_state="rollback_completed"), task(number, name, state="failed", error=error)


def test_an_update_that_a_passing_fault_stopped_is_worth_asking_again() -> None:
    (certs, busy), (api, crash) = rolled_back("certs", 1, BUSY), rolled_back("api", 2, "task: non-zero exit (1)")
    new = service("new")
    fault = transient_failure(cluster([certs, new], [busy, task(3, "new", state="starting")]), frozenset())
    assert fault is not None and fault.services == ("certs",)
    assert transient_failure(cluster([certs, api], [busy, crash]), frozenset()) is None, "api has a fault of its own"
    assert transient_failure(cluster([certs], [busy]), frozenset({busy.id})) is None, "from before the deploy"
    assert transient_failure(cluster([certs], [busy, task(2, "certs", state="failed", error="x")]), frozenset()) is None
    assert transient_failure(cluster([new], [task(3, "new", state="failed", error=BUSY)]), frozenset()) is None, (
        "restarted"
    )


def test_equal_errors_of_different_containers_are_one_problem() -> None:
    api, db = service("api"), service("db")
    tasks = [
        task(1, state="failed", error="container 0123456789ab exited: x", node_id="n1"),
        task(2, state="failed", error="container ba9876543210 exited: x", node_id="n2"),
        task(3, "db", state="rejected", error="No such image: db:1", node_id="n3"),
        task(4, state="running"),
    ]
    found = group(cluster([api, db], tasks), tasks)
    assert [(p.count, p.services, p.nodes) for p in found] == [
        (2, ("api",), ("node1", "node2")),
        (1, ("db",), ("node3",)),
    ]
    assert found[0].task.id == "t2"


def test_two_services_with_one_error_are_named_together() -> None:
    api, db = service("api"), service("db")
    error = "no suitable node (scheduling constraints not satisfied on 3 nodes)"
    tasks = [task(1, state="pending", error=error, node_id=""), task(2, "db", state="pending", error=error, node_id="")]
    (only,) = group(cluster([api, db], tasks), tasks)
    assert (only.services, only.nodes, only.count) == (("api", "db"), (), 2)


@given(st.text(alphabet="abc xyz:/(1)", max_size=30), st.text(alphabet=HEX, min_size=12, max_size=64))
def test_an_id_never_makes_two_errors_different(words: str, identifier: str) -> None:
    assert normalise_error(f"{words} {identifier} {words}") == normalise_error(f"{words} {'f' * 64} {words}")
