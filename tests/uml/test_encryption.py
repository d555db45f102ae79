"""Encrypted overlay networks where the kernel has ESP: what a listener between two engines reads, and does not."""

from collections.abc import Iterator

import pytest
from second_node import Second, second_node
from swarm_project import Small
from uml_machine import Machine
from waiting import answer

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
TEXT = "what-nobody-else-may-read"


@pytest.fixture(scope="module")
def second(machine: Machine, small: Small) -> Iterator[Second]:
    """The second node; web, one task on each, serves TEXT."""
    before = small.compose
    small.compose = before.replace("echo started; trap", f"mkdir /www; echo {TEXT} >/www/text; httpd -h /www; trap")
    small.compose = small.compose.replace("replicas: 1\n        endpoint_mode", "mode: global\n        endpoint_mode")
    assert TEXT in small.compose and "mode: global\n        endpoint_mode" in small.compose
    small.write()
    try:
        with second_node(machine, "busybox:1") as joined:
            yield joined
    finally:
        small.compose = before
        small.write()


@pytest.fixture
def deployed(second: Second, small: Small, request: pytest.FixtureRequest) -> Iterator[Small]:
    """The deployment with SWARM_ENCRYPTED as the test says."""
    small.settings(SWARM_ENCRYPTED=request.param)
    try:
        result = small.run("swarm-up")
        assert result.code == 0, result.err + result.error
        assert ("trying whether second, uml can encrypt" in result.err) is (request.param == "true"), result
        yield small
    finally:
        small.run("swarm-down", "--volumes", "--yes")
        small.settings(SWARM_ENCRYPTED="false")


def fetching(machine: Machine, second: Second) -> str:
    """The command by which the first node's web reads TEXT of the second's; it works already."""
    (here,) = machine.engine.docker("ps", "--quiet", "--filter", "name=small_web").split()
    (there,) = second.docker("ps --quiet --filter name=small_web").split()
    address = second.docker(
        f"inspect --format '{{{{(index .NetworkSettings.Networks \"small_default\").IPAddress}}}}' {there}"
    ).strip()
    words = ("exec", here, "wget", "-q", "-O", "-", f"http://{address}/text")
    assert TEXT in answer(lambda: machine.engine.docker(*words))
    return "docker " + " ".join(words)


@pytest.mark.parametrize("deployed", ["true"], indirect=True)
def test_a_listener_hears_esp_alone(deployed: Small, machine: Machine, second: Second) -> None:
    heard = second.heard(4, fetching(machine, second))
    assert heard.esp > 5 and not heard.vxlan
    assert TEXT.encode() not in heard.data
    assert "encrypted between the nodes: small_default" in deployed.run("swarm-status").out


@pytest.mark.parametrize("deployed", ["false"], indirect=True)
def test_a_listener_reads_a_plain_network(deployed: Small, machine: Machine, second: Second) -> None:
    heard = second.heard(4, fetching(machine, second))
    assert heard.vxlan > 5 and not heard.esp
    assert TEXT.encode() in heard.data
    assert "plain between the nodes: small_default" in deployed.run("swarm-status").out
