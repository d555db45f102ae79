"""Where a secret is read, and that it comes whole."""

import pytest
from cluster_builders import cluster, node, service, task

from openbalena.base.errors import OperationError
from openbalena.swarm import encrypted_read
from openbalena.swarm.state import Cluster, Node, Task

API = service(image="a:1")
WORKER, MANAGER = node(1, role="worker"), node(2, role="manager")


def of(nodes: list[Node], *tasks: Task) -> Cluster:
    return cluster([API], list(tasks), nodes)


@pytest.mark.parametrize("nodes", [[WORKER, MANAGER], [MANAGER, WORKER]])
def test_a_manager_reads_where_one_has_the_image(nodes: list[Node]) -> None:
    both = of(nodes, task(1, node_id=WORKER.id), task(2, node_id=MANAGER.id))
    assert encrypted_read.pick_node_and_image(both, "api") == (MANAGER.id, "a:1")


def test_a_worker_reads_where_no_manager_has_the_image() -> None:
    assert encrypted_read.pick_node_and_image(of([WORKER, MANAGER], task(1, node_id=WORKER.id)), "api") == (
        WORKER.id,
        "a:1",
    )


@pytest.mark.parametrize(
    ("machine", "there"),
    [
        (node(1, state="down"), task(1)),
        (node(1, availability="drain"), task(1)),
        (node(1), task(1, state="starting")),
        (node(1), task(1, desired="shutdown")),
    ],
)
def test_nobody_reads_where_no_task_runs(machine: Node, there: Task) -> None:
    with pytest.raises(OperationError, match="no task of api is running"):
        encrypted_read.pick_node_and_image(of([machine], there), "api")
    with pytest.raises(OperationError, match="no task of db is running"):
        encrypted_read.pick_node_and_image(of([machine], task(1)), "db")
