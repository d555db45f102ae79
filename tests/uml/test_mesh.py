"""INGRESS_MODE=mesh where the kernel has ip_vs: the routing mesh and virtual IPs answer, from every task in turn."""

import urllib.request
from collections.abc import Iterator

import pytest
from swarm_project import MESH, Small
from uml_machine import Machine
from waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def meshed(machine: Machine, small: Small) -> Iterator[Small]:
    """The deployment behind the mesh, its front with two tasks, each of which serves its own name."""
    before = small.compose
    small.compose = before.replace("echo front >", "cat /etc/hostname >")
    small.write()
    two = "deploy: {endpoint_mode: vip, mode: replicated, replicas: 2}"
    mesh = small.directory / "docker-compose.mesh.yml"
    mesh.write_text(
        MESH.replace(
            "mode: ingress}]\n    x-swarm: {deploy: {endpoint_mode: vip}}", f"mode: ingress}}]\n    x-swarm: {{{two}}}"
        )
    )
    small.settings(INGRESS_MODE="mesh")
    try:
        result = small.run("swarm-up")
        assert result.code == 0, result
        yield small
    finally:
        small.run("swarm-down", "--volumes", "--yes")
        small.settings(INGRESS_MODE="host")
        small.compose = before
        small.write()
        mesh.unlink()


def names(machine: Machine) -> list[str]:
    """The host names of the tasks of front that run."""
    found = machine.engine.docker("ps", "--quiet", "--no-trunc", "--filter", "name=small_front").split()
    return sorted(container[:12] for container in found)


def test_the_routing_mesh_answers_from_both_tasks(meshed: Small, machine: Machine) -> None:
    running = names(machine)
    assert len(running) == 2
    assert sorted({ask(machine) for _ in range(8)}) == running


def test_a_virtual_address_answers_from_both_tasks(meshed: Small, machine: Machine) -> None:
    (inside,) = machine.engine.docker("ps", "--quiet", "--filter", "name=small_store").split()
    four = "for n in 1 2 3 4; do wget -q -O - http://front/; done"
    assert sorted(set(machine.engine.docker("exec", inside, "sh", "-c", four).split())) == names(machine)


def test_the_mesh_goes_on_without_a_killed_task(meshed: Small, machine: Machine) -> None:
    killed = names(machine)[0]
    machine.engine.docker("kill", killed)
    eventually("another HAProxy in its place", lambda: len(names(machine)) == 2 and killed not in names(machine))
    eventually("an answer of each", lambda: answering(machine) == names(machine))


def answering(machine: Machine) -> list[str]:
    """The tasks that answer, none while one of them runs and its server does not listen yet."""
    try:
        return sorted({ask(machine) for _ in range(4)})
    except OSError:
        return []


def ask(machine: Machine) -> str:
    """What the published port answers from outside, on a connection of its own."""
    with urllib.request.urlopen(f"http://{machine.address}:8088/", timeout=10) as answer:
        return str(answer.read().decode().strip())
