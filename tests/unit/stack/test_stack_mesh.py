"""What INGRESS_MODE=mesh makes of the whole deployment, every profile included."""

from typing import Any

import pytest

from openbalena import compose, stack
from openbalena.base.project import ROOT, Project


def compiled(*, mesh: bool) -> dict[str, Any]:
    """The services, with the variables as they are written."""
    files = Project(directory=ROOT / "nowhere").compose_files(lab=False, mesh=mesh)
    found = stack.compile(compose.load(files, environment={}, profiles=["*"], interpolate=False))
    assert [str(item) for item in found.diagnostics if item.severity is not stack.Severity.NOTE] == []
    return dict(found.document["services"])


@pytest.fixture(scope="module")
def mesh() -> dict[str, Any]:
    return compiled(mesh=True)


def test_every_service_has_a_virtual_ip_and_every_port_is_the_meshs(mesh: dict[str, Any]) -> None:
    assert {service["deploy"]["endpoint_mode"] for service in mesh.values()} == {"vip"}
    ports = {name: [port["mode"] for port in service["ports"]] for name, service in mesh.items() if "ports" in service}
    assert ports == {"haproxy": ["ingress"] * 2, "remote": ["ingress"] * 10}


def test_haproxy_asks_for_tasks_and_its_new_task_comes_first(mesh: dict[str, Any]) -> None:
    assert mesh["haproxy"]["environment"]["TASKS"] == "tasks."
    assert mesh["haproxy"]["deploy"]["update_config"]["order"] == "start-first"


def test_nothing_else_differs(mesh: dict[str, Any]) -> None:
    host = compiled(mesh=False)
    assert {service["deploy"]["endpoint_mode"] for service in host.values()} == {"dnsrr"}
    del mesh["haproxy"]["environment"]["TASKS"]
    for services in (mesh, host):
        for service in services.values():
            del service["deploy"]["endpoint_mode"]
            for port in service.get("ports", ()):
                del port["mode"]
        for config in ("update_config", "rollback_config"):
            del services["haproxy"]["deploy"][config]["order"]
    assert mesh == host
