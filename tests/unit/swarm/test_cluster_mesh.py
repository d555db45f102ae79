"""What the nodes' answers about ip_vs mean."""

import pytest
from cluster_builders import cluster, node
from fake_engine import FakeEngine
from fake_swarm import Row

from openbalena.swarm import mesh, state
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


def test_every_usable_node_is_checked_by_a_task(fake: FakeEngine) -> None:
    for name in ("node1", "node2", "node3"):
        fake.swarm.node(name, "manager")
    fake.swarm.nodes["id-node3"]["Spec"]["Availability"] = "drain"
    fake.swarm.logs = {"openbalena-ipvs": ["openbalena-job-end"]}
    fake.swarm.fates["openbalena-ipvs-id-node2"] = [[Row(0, "failed", "task: non-zero exit (3)", 3)]]
    with fake.engine.client() as client:
        found = mesh.check_ip_vs(fake.engine, client, state.read_cluster(client, "ob"), "api:1")
    assert [(each.fatal, str(each).partition(" has ")[0]) for each in found] == [
        (True, "node node2"),
        (False, "node node3 is ready, drain: ip_vs could not be checked"),
    ]
    templates = [spec["TaskTemplate"] for spec in fake.swarm.created]
    assert [each["Placement"]["Constraints"] for each in templates] == [["node.id==id-node1"], ["node.id==id-node2"]]
    assert {each["ContainerSpec"]["Image"] for each in templates} == {"api:1"}
    assert not fake.swarm.services


@pytest.mark.parametrize("code", [2, 3, 4])
def test_only_the_exit_code_of_the_script_means_that_ip_vs_is_absent(code: int) -> None:
    outcome = JobResult(False, (), f"task: non-zero exit ({code})", code)
    (found,) = mesh.ip_vs_findings({"n1": outcome}, cluster([], [], 1))
    assert ("has no ip_vs" in str(found)) is (code == 3)
