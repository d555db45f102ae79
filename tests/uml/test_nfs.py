"""Volumes on a real NFS server, mounted by a real client: what is said where that cannot be, and that data stays."""

import time
from collections.abc import Callable

import pytest
from swarm_project import Result, Small
from uml_machine import Machine

pytestmark = pytest.mark.cluster
EXPORT = "/srv/export"


@pytest.fixture(autouse=True)
def server(machine: Machine, small: Small) -> None:
    """The server runs and exports an empty directory as it should be; nothing of the deployment is there."""
    small.run("swarm-down", "--volumes", "--yes")
    small.settings(USE_NFS="false")
    serve(machine)
    machine.shell(f"rm -rf {EXPORT}; mkdir -p {EXPORT}")
    export(machine, "rw,no_root_squash")


def serve(machine: Machine, threads: int = 4) -> None:
    """Start the server, or stop it with no threads. Clients of a server that ran before have 10 s to come back."""
    machine.shell(f"rpc.nfsd --no-nfs-version 3 --grace-time 10 --lease-time 10 {threads}")


def export(machine: Machine, options: str, client: str = "*") -> None:
    """Let the server export EXPORT, and nothing else."""
    machine.shell(f"exportfs -ua; exportfs -o {options},no_subtree_check '{client}:{EXPORT}'")


def setup(small: Small, machine: Machine, path: str = EXPORT, server: str = "") -> Result:
    return small.run("swarm-nfs-setup", "--nfs-host", server or machine.address, "--nfs-path", path, "--yes")


def starts(machine: Machine) -> list[str]:
    """The lines that store wrote, as the server has them: one for each start."""
    return machine.shell(f"cat {EXPORT}/store-data/starts").splitlines()


def eventually(what: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(1)


def kill_store(machine: Machine) -> None:
    """Kill the only container of store, and the container with it."""
    (container,) = machine.engine.docker("ps", "--quiet", "--filter", "name=small_store").split()
    machine.engine.docker("kill", "--signal", "KILL", container)


def test_data_on_the_export_outlives_its_container_and_its_stack(small: Small, machine: Machine) -> None:
    result = setup(small, machine)
    assert result.code == 0 and "uml: mounted, written, owned and read" in result.out, result
    assert machine.shell(f"ls -A {EXPORT} {EXPORT}/store-data").split() == [
        f"{EXPORT}:", "store-data", f"{EXPORT}/store-data:"
    ], "the check leaves the volume's directory, and nothing in it"  # fmt: skip
    result = small.run("swarm-up")
    assert result.code == 0, result
    first = starts(machine)
    assert len(first) == 1
    mounted = machine.shell("grep ' nfs4 ' /proc/mounts")
    assert all(word in mounted for word in (f":{EXPORT}/store-data ", "vers=4.1", ",hard,")), mounted
    kill_store(machine)
    eventually(lambda: len(starts(machine)) == 2)
    assert starts(machine)[:1] == first
    assert small.run("swarm-down", "--volumes", "--yes").code == 0
    assert len(starts(machine)) == 2, "the volume is gone from the node, its data is the server's"
    result = small.run("swarm-up")
    assert result.code == 0, result
    assert len(starts(machine)) == 3 and starts(machine)[:1] == first


def test_a_server_that_dies_is_waited_for_and_nothing_is_lost(small: Small, machine: Machine) -> None:
    assert setup(small, machine).code == 0
    assert small.run("swarm-up").code == 0
    before = starts(machine)
    serve(machine, 0)
    kill_store(machine)
    time.sleep(5)
    serve(machine)
    eventually(lambda: len(starts(machine)) > len(before), 120)
    assert starts(machine)[: len(before)] == before


@pytest.mark.parametrize(
    ("options", "client", "path", "sentence"),
    [
        ("rw,no_root_squash", "*", "/srv/exprot", "the server has no such directory"),
        ("rw,no_root_squash", "192.0.2.1", EXPORT, "the server does not export NFS_PATH to this node"),
        ("ro,no_root_squash", "*", EXPORT, "the export is read-only"),
        ("rw,root_squash", "*", EXPORT, "the export may not be written"),
    ],
    ids=["a wrong path", "another client", "read-only", "root squashed"],
)
def test_a_wrong_export_is_said(
    small: Small, machine: Machine, options: str, client: str, path: str, sentence: str
) -> None:
    export(machine, options, client)
    refused(small, setup(small, machine, path), sentence)


@pytest.mark.parametrize("options", ["rw,root_squash", "rw,all_squash,anonuid=1000,anongid=1000"])
def test_an_export_that_changes_owners_is_said(small: Small, machine: Machine, options: str) -> None:
    machine.shell(f"chmod 777 {EXPORT}")
    export(machine, options)
    refused(small, setup(small, machine), "to another owner than the one that writes them")


def test_a_dead_server_is_said(small: Small, machine: Machine) -> None:
    serve(machine, 0)
    refused(small, setup(small, machine), "nothing listens on NFS_HOST at NFS_PORT")


def test_an_unknown_name_and_an_address_that_nobody_has_are_said(small: Small, machine: Machine) -> None:
    refused(small, setup(small, machine, server="nfs.invalid.example"), "the node cannot resolve NFS_HOST")
    refused(small, setup(small, machine, server="192.0.2.1"), "there is no route from the node to NFS_HOST")


def refused(small: Small, result: Result, sentence: str) -> None:
    """The node is named with the reason, and nothing is changed."""
    assert result.code == 1 and "1 of 1 nodes cannot use the export; nothing was changed" in result.error, result
    assert f"uml: {sentence}" in result.out, result
    assert "USE_NFS=false" in small.project.env_file.read_text()
