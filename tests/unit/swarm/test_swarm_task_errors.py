"""Errors of tasks: grouped, named, each with what to do."""

import pytest
from cluster_builders import cluster, service, task
from hypothesis import given
from hypothesis import strategies as st

from openbalena.swarm import task_errors
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
