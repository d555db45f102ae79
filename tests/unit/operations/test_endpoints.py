"""Which addresses serve a certificate, and what is said of those that do not."""

from typing import Any

import pytest
from fake_engine import FakeEngine
from hearing import Listener

from openbalena import settings
from openbalena.base.errors import UsageError
from openbalena.base.project import Project
from openbalena.operations import endpoints
from openbalena.operations.endpoints import Endpoints, cluster_endpoints, machine_endpoints, warn_of_unreachable
from openbalena.operations.workspace import Workspace
from openbalena.swarm import certificate_rollout
from openbalena.swarm.certificate_rollout import SERVES_OTHER_CERTIFICATE

NAMES = {"192.0.2.1": "node1", "192.0.2.2": "node2", "192.0.2.3": "node3"}
FAILURES = {"192.0.2.2": SERVES_OTHER_CERTIFICATE, "192.0.2.3": "timed out"}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is asked of which addresses; none of them fails."""
    found: list[Any] = []

    def not_serving(addresses: Any, host: str, chain: bytes, timeout: float) -> dict[str, str]:
        found.append((list(addresses), host, chain, timeout))
        return {}

    monkeypatch.setattr(certificate_rollout, "tasks_not_serving", not_serving)
    return found


def test_addresses_by_what_they_serve() -> None:
    found = Endpoints(NAMES, FAILURES)
    assert found.other == ["192.0.2.2"] and found.unreachable == ["192.0.2.3"]
    assert found.serving() == ["node1 (192.0.2.1) serves it."]
    through = " (through the routing mesh: any node's HAProxy may have answered)"
    assert Endpoints(NAMES, FAILURES, mesh=True).serving() == [f"node1 (192.0.2.1) serves it{through}."]
    listener = Listener()
    warn_of_unreachable(found, listener)
    assert listener.heard == ["warning: node3 (192.0.2.3) could not be checked on port 443: timed out"]


@pytest.mark.parametrize("mode", ["host", "mesh"])
def test_a_cluster_s_usable_ingress_nodes_are_asked(
    mode: str, project: Project, fake: FakeEngine, asked: list[Any]
) -> None:
    with project.env_file.open("a") as file:
        file.write(f"INGRESS_MODE={mode}\n")
    fake.swarm.node("node2", **{"openbalena.ingress": "true"})
    fake.swarm.node("node3", **{"openbalena.ingress": "true"})["Status"]["State"] = "down"
    fake.swarm.node("node4")
    with fake.engine.client() as client:
        found = cluster_endpoints(client, settings.read(project), b"chain")
        assert found == Endpoints({"10.9.0.1": "node1", "10.9.0.2": "node2"}, {}, mesh=mode == "mesh")
        assert asked == [(["10.9.0.1", "10.9.0.2"], "api.my.example.com", b"chain", 30.0)]
        for node in fake.swarm.nodes.values():
            node["Spec"]["Labels"].clear()
        with pytest.raises(
            UsageError, match="no node has the label openbalena.ingress=true: run ./open-balena.sh swarm"
        ):
            cluster_endpoints(client, settings.read(project), b"chain")


def test_one_machine_is_asked_by_its_name(project: Project, asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "public_addresses", lambda workspace, host: ("192.0.2.1",))
    found = machine_endpoints(Workspace(project, lab=False), settings.read(project), b"chain")
    assert found == Endpoints({"192.0.2.1": "api.my.example.com"}, {})
    assert asked == [(["192.0.2.1"], "api.my.example.com", b"chain", 30.0)]
