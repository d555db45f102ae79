"""What the nodes' answers about ip_vs mean."""

from cluster_builders import cluster, node

from openbalena.swarm import mesh
from openbalena.swarm.job import JobResult


def test_each_node_without_ip_vs_is_named_with_what_to_do() -> None:
    outcomes = {
        "n1": JobResult(True, ()),
        "n2": JobResult(False, (), "task: non-zero exit (3)", 3),
        "n3": JobResult(False, (), "No such image: api:1", started=False),
    }
    lacking, unknown = mesh.ip_vs_findings(outcomes, cluster([], []))
    assert lacking.fatal and "node2" in str(lacking) and "`modprobe ip_vs`" in str(lacking)
    assert unknown.fatal and "node3" in str(unknown) and "No such image" in str(unknown)


def test_a_node_that_cannot_be_asked_is_a_warning() -> None:
    (found,) = mesh.ip_vs_findings({}, cluster([], [], [node(1, availability="drain")]))
    assert not found.fatal and "node1 is ready, drain" in str(found)
