"""One machine with a kernel of its own for all tests of a run, and one deployment on it."""

import os
from collections.abc import Iterator

import pytest
import uml_machine
from swarm_project import Small, fetch_busybox

IMAGE = "busybox:1"


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[uml_machine.Machine]:
    """The booted machine, its NFS server running, with the tests' image; it exports nothing."""
    if os.geteuid() != 0:
        pytest.skip("a tap interface and mounts need root")
    with uml_machine.booted(tmp_path_factory.mktemp("uml")) as booted:
        yield booted


@pytest.fixture(scope="session")
def small(machine: uml_machine.Machine, tmp_path_factory: pytest.TempPathFactory) -> Small:
    """The small deployment with the machine as its swarm: its commands act there. Nothing is deployed yet."""
    made = Small(
        tmp_path_factory.mktemp("small"), fetch_busybox(tmp_path_factory.mktemp("busybox")), machine.environment
    )
    made.settings(API_IMAGE=IMAGE)
    made.compose = made.compose.replace("replicas: 2", "replicas: 1")  # it has one CPU
    made.write()
    made.give("ip")
    machine.load(made.image_root, IMAGE)
    machine.reach_in(IMAGE)
    result = made.run("swarm-init", "--advertise-addr", machine.address)
    assert result.code == 0, result
    return made
