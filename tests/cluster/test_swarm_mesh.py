"""INGRESS_MODE=mesh where no node's kernel has ip_vs, SWARM_ENCRYPTED=true where none has ESP: refused before anything
changes.

That the mesh answers, and that the wire is encrypted, only another kernel can show.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from swarm_project import MESH, Small, fetch_busybox

from openbalena.lab import Endpoint, kernel, paths
from openbalena.operations.engines import default_engine

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def small(lab: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    made = Small(tmp_path_factory.mktemp("small"), fetch_busybox(tmp_path_factory.mktemp("busybox")))
    (made.directory / "docker-compose.mesh.yml").write_text(MESH)
    made.give("ip")
    try:
        for command in ("swarm-init", "swarm-build"):
            assert made.run(command).code == 0
        yield made
    finally:
        made.run("swarm-down", "--volumes", "--yes")
        made.forget_labels()


def services() -> list[str]:
    with default_engine(True).client() as client:
        return sorted(raw["Spec"]["Name"] for raw in client.api.services())


def searches() -> int:
    """How often the engines have looked for the kernel's module."""
    return sum(log.read_text().count("modprobe ip_vs") for log in (paths.directory() / "log").glob("*.log"))


def test_every_node_without_ip_vs_is_named_and_nothing_is_changed(small: Small) -> None:
    assert not Path("/proc/net/ip_vs").exists(), "this kernel has ip_vs: it cannot show a refusal"
    before, searched = services(), searches()
    small.settings(INGRESS_MODE="mesh")
    result = small.run("swarm-up")
    assert result.code == 1 and result.error.startswith("nothing was deployed:")
    for name in ("node1", "node2", "node3"):
        assert f"node {name} has no ip_vs in its kernel" in result.error
    assert "modprobe ip_vs" in result.error and "INGRESS_MODE=host" in result.error
    assert services() == before, "neither the stack nor a task that asked is there"
    assert searches() == searched, (
        "an engine that has looked in vain must be started anew: the question makes none look"
    )


def networks() -> list[str]:
    with default_engine(True).client() as client:
        return sorted(raw["Name"] for raw in client.api.networks(filters={"driver": "overlay"}))


def test_every_node_without_esp_is_named_and_nothing_is_changed(small: Small) -> None:
    assert not kernel.has_esp(), "this kernel has ESP: it cannot show a refusal"
    before = (services(), networks())
    small.settings(INGRESS_MODE="host", SWARM_ENCRYPTED="true")
    try:
        assert "encrypted: 'true'" in small.run("swarm-up", "--dry-run").out.replace('"', "'")
        result = small.run("swarm-up")
    finally:
        small.settings(SWARM_ENCRYPTED="false")
    assert result.code == 1 and result.error.startswith("nothing was deployed:"), result
    for name in ("node1", "node2", "node3"):
        assert f"node {name} has no ESP (IPsec) with AES-GCM in its kernel (" in result.error, result
    assert "modprobe -a esp4" in result.error and "set SWARM_ENCRYPTED=false" in result.error
    assert (services(), networks()) == before, "neither the stack nor a task that tried is there"


def test_what_is_shown_is_what_would_be_deployed(small: Small) -> None:
    small.settings(INGRESS_MODE="mesh")
    for command, *arguments in (("swarm-up", "--dry-run"), ("stack", "render")):
        shown = small.run(command, *arguments)
        assert shown.code == 0 and "mode: ingress" in shown.out and "dnsrr" not in shown.out


def test_a_running_deployment_is_not_changed_in_place(small: Small) -> None:
    small.settings(INGRESS_MODE="host")
    assert small.run("swarm-up").code == 0
    small.settings(INGRESS_MODE="mesh")
    changes = small.run("stack", "diff").out
    assert "front: endpoint mode: dnsrr → vip" in changes and "front: ports: + 8088→80/tcp (ingress)" in changes
    result = small.run("swarm-up")
    assert result.code == 1 and "endpoint_mode is dnsrr and would be vip" in result.error
    assert "swarm-down, which keeps the volumes" in result.error
    small.settings(INGRESS_MODE="host")
    assert small.run("stack", "diff").out == "no changes\n"
