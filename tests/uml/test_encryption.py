"""Encrypted overlay networks where the kernel has ESP: what a listener between two engines reads, and does not."""

import shlex
from collections.abc import Iterator
from contextlib import suppress

import pytest
from second_node import Second, second_node
from swarm_project import Small
from uml_machine import Machine
from waiting import answer

from openbalena.base.errors import OperationError

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
IMAGE = "busybox:1"
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
        with second_node(machine, IMAGE) as joined:
            yield joined
    finally:
        small.compose = before
        small.write()


@pytest.fixture(scope="module")
def deployed(second: Second, small: Small) -> Iterator[Small]:
    """The deployment with SWARM_ENCRYPTED=true."""
    small.settings(SWARM_ENCRYPTED="true")
    try:
        result = small.run("swarm-up")
        assert result.code == 0, result.err + result.error
        assert "checking whether second, uml can encrypt" in result.err, result
        yield small
    finally:
        small.run("swarm-down", "--volumes", "--yes")
        small.settings(SWARM_ENCRYPTED="false")


def fetching(machine: Machine, second: Second, here: str, there: str, network: str) -> str:
    """The command by which the first node's container `here` reads TEXT of the second's `there`; it works already."""
    form = f'{{{{(index .NetworkSettings.Networks "{network}").IPAddress}}}}'
    address = second.docker(f"inspect --format {shlex.quote(form)} {there}").strip()
    words = ("exec", here, "wget", "-q", "-O", "-", f"http://{address}/text")
    # A connection that finds no way would be tried for minutes.
    assert TEXT in answer(lambda: machine.engine.docker(*words, timeout=15))
    return "docker " + " ".join(words)


def test_a_listener_hears_esp_alone(deployed: Small, machine: Machine, second: Second) -> None:
    (here,) = machine.engine.docker("ps", "--quiet", "--filter", "name=small_web").split()
    (there,) = second.docker("ps --quiet --filter name=small_web").split()
    heard = second.heard(fetching(machine, second, here, there, "small_default"))
    assert heard.esp > 5 and not heard.vxlan
    assert TEXT.encode() not in heard.data
    assert "Overlay networks, encrypted between nodes: small_default" in deployed.run("swarm-status", "--verbose").out


def test_a_listener_reads_a_plain_network(machine: Machine, second: Second) -> None:
    """So the listener hears what there is to hear."""
    machine.engine.docker("network", "create", "--driver", "overlay", "--attachable", "plain")
    try:
        run = "run --detach --network plain --name"
        machine.engine.docker(*run.split(), "reader", IMAGE, "sleep", "1000")
        serve = f"mkdir /www; echo {TEXT} >/www/text; exec httpd -f -h /www"
        second.docker(f"{run} server {IMAGE} sh -c '{serve}'")
        heard = second.heard(fetching(machine, second, "reader", "server", "plain"))
    finally:
        with suppress(OperationError):
            second.docker("rm --force server")
        machine.engine.docker("rm", "--force", "reader")
        machine.engine.docker("network", "rm", "plain")
    assert heard.vxlan > 5
    assert TEXT.encode() in heard.data
