"""Volumes on a real NFS server, mounted by a real client: what is said where that cannot be, and that data stays."""

import json
import subprocess
from collections.abc import Iterator

import pytest
from nfs_server import EXPORT, begin, export, serve, starts
from swarm_project import Result, Small
from uml_machine import Machine
from waiting import eventually

from openbalena.base.errors import OperationError
from openbalena.storage import volumes

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
OTHER = "/srv/other"


@pytest.fixture
def server(machine: Machine, small: Small) -> None:
    """The server runs and exports an empty directory as it should be; the settings have no NFS yet."""
    small.settings(USE_NFS="false")
    begin(machine)


@pytest.fixture(scope="module")
def deployed(machine: Machine, small: Small) -> Iterator[Small]:
    """The deployment runs with its volume on the server."""
    begin(machine)
    try:
        result = setup(small, machine)
        assert result.code == 0 and "uml: mounted, written to, chowned and read" in result.out, result
        assert not machine.shell(f"ls -A {EXPORT}/store-data"), (
            "the check leaves the volume's directory, and nothing in it"
        )
        result = small.run("swarm-up")
        assert result.code == 0, result
        yield small
    finally:
        serve(machine)
        small.run("swarm-down", "--volumes", "--yes")
        result = small.run("swarm-down", "--volumes", "--yes")
        assert "small_settings-" not in result.out, result
        small.settings(USE_NFS="false")


def setup(small: Small, machine: Machine, path: str = EXPORT, server: str = "") -> Result:
    return small.run("swarm-nfs-setup", "--nfs-host", server or machine.address, "--nfs-path", path, "--yes")


def container(machine: Machine) -> str:
    """The only container of store that runs."""
    (found,) = machine.engine.docker("ps", "--quiet", "--filter", "name=small_store").split()
    return found


def kill_store(machine: Machine) -> None:
    machine.engine.docker("kill", "--signal", "KILL", container(machine))


def removed(machine: Machine) -> bool:
    """Whether the node's volume could be removed: it can once no container has it."""
    try:
        machine.engine.docker("volume", "rm", "small_store-data")
    except OperationError:
        return False
    return True


def refused(small: Small, result: Result, sentence: str) -> None:
    """The node is named with the reason, and nothing is changed."""
    assert result.code == 1 and "1 of 1 nodes cannot use the export; nothing was changed" in result.error, result
    assert f"uml: {sentence}" in result.out, result
    assert "USE_NFS=false" in small.project.env_file.read_text()


@pytest.mark.parametrize(
    ("options", "client", "path", "sentence"),
    [
        ("rw,no_root_squash", "*", "/srv/exprot", "the server has no such directory"),
        ("rw,no_root_squash", "192.0.2.1", EXPORT, "the server does not export NFS_PATH to this node"),
        ("ro,no_root_squash", "*", EXPORT, "the export is read-only"),
        ("rw,root_squash", "*", EXPORT, "the export is not writable"),
    ],
    ids=["a wrong path", "another client", "read-only", "root squashed"],
)
def test_a_wrong_export_is_said(
    server: None, small: Small, machine: Machine, options: str, client: str, path: str, sentence: str
) -> None:
    export(machine, options, client)
    refused(small, setup(small, machine, path), sentence)


@pytest.mark.parametrize("name", ["nfs.test", "::1"])
def test_a_name_and_an_address_of_ipv6_are_mounted(server: None, small: Small, machine: Machine, name: str) -> None:
    result = setup(small, machine, server=name)
    assert result.code == 0 and "uml: mounted, written to, chowned and read" in result.out, result
    assert f"addr={name}," in (small.directory / "docker-stack-nfs.yml").read_text()


@pytest.mark.parametrize("options", ["rw,root_squash", "rw,all_squash,anonuid=1000,anongid=1000"])
def test_an_export_that_changes_owners_is_said(server: None, small: Small, machine: Machine, options: str) -> None:
    machine.shell(f"chmod 777 {EXPORT}")
    export(machine, options)
    refused(small, setup(small, machine), "the server changes the owner of files")


def test_a_dead_server_is_said(server: None, small: Small, machine: Machine) -> None:
    serve(machine, 0)
    refused(small, setup(small, machine), "nothing listens on NFS_HOST at NFS_PORT")


def test_an_unknown_name_and_an_address_that_nobody_has_are_said(server: None, small: Small, machine: Machine) -> None:
    refused(small, setup(small, machine, server="nfs.invalid.example"), "the node cannot resolve NFS_HOST")
    refused(small, setup(small, machine, server="192.0.2.1"), "there is no route from the node to NFS_HOST")


def test_the_data_outlives_its_container(deployed: Small, machine: Machine) -> None:
    first = starts(machine)
    assert len(first) == 1
    mounted = machine.shell("grep ' nfs4 ' /proc/mounts")
    assert all(word in mounted for word in (f":{EXPORT}/store-data ", "vers=4.1", ",hard,")), mounted
    kill_store(machine)
    eventually("a second start", lambda: len(starts(machine)) == 2)
    assert starts(machine)[:1] == first


def shown(small: Small) -> tuple[str, object, str]:
    """The node, the size and the remark that `storage show` has for the volume."""
    result = small.run("storage", "show", "--json")
    assert result.code == 0, result
    (volume,) = json.loads(result.out)["volumes"]
    return volume["node"], volume["size"], volume["remark"]


def test_show_says_how_much_lies_there(deployed: Small, machine: Machine) -> None:
    _, before, _ = shown(deployed)
    machine.shell(f"head -c 3000000 /dev/urandom >{EXPORT}/store-data/more; sync")
    try:
        node, size, remark = shown(deployed)
        assert (node, remark) == ("uml", "on NFS")
        assert isinstance(before, int) and isinstance(size, int) and 2.9e6 < size - before < 3.2e6
    finally:
        machine.shell(f"rm {EXPORT}/store-data/more")


def test_a_server_that_dies_is_waited_for_and_nothing_is_lost(
    deployed: Small, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = starts(machine)
    serve(machine, 0)
    write = machine.engine.command("exec", container(machine), "sh", "-c", "echo waited >>/data/starts")
    with subprocess.Popen(write, env=machine.engine.process_environment()) as writing:
        try:
            with pytest.raises(subprocess.TimeoutExpired):
                writing.wait(5)
            monkeypatch.setattr(volumes, "_NFS_TIMEOUT", 10.0)
            node, size, remark = shown(deployed)
            assert (node, size) == ("uml", None) and remark.startswith("on NFS: no answer"), remark
            serve(machine)
            assert writing.wait(90) == 0
        finally:
            writing.kill()
    assert starts(machine) == [*before, "waited"]


def test_another_export_is_not_taken_for_the_one_with_the_data(deployed: Small, machine: Machine) -> None:
    """Docker would mount the old one under the new options, and an empty one is not where the data is."""
    before = starts(machine)
    machine.shell(f"mkdir -p {OTHER}; exportfs -o rw,no_root_squash,no_subtree_check '*:{OTHER}'")
    try:
        assert setup(deployed, machine, OTHER).code == 0
        result = deployed.run("swarm-up")
        assert result.code == 1 and "uml already has a volume store-data that is not the one on NFS" in result.error, (
            result
        )
        assert deployed.run("swarm-down").code == 0
        eventually("store's volume removed", lambda: removed(machine))
        result = deployed.run("swarm-up")
        assert result.code == 1 and "volume store-data on uml is empty, although" in result.error, result
        deployed.settings(NFS_PATH=EXPORT)
        eventually("store's volume removed", lambda: removed(machine))
        serve(machine, 0)
        result = deployed.run("swarm-up")
        assert result.code == 1 and "on uml: nothing listens on NFS_HOST at NFS_PORT" in result.error, result
    finally:
        serve(machine)
        deployed.settings(NFS_PATH=EXPORT)
    result = deployed.run("swarm-up")
    assert result.code == 0, result
    assert starts(machine)[:-1] == before, "the old export's data is used again"


def test_a_local_volume_of_the_name_is_not_taken_for_the_export(deployed: Small, machine: Machine) -> None:
    result = deployed.run("swarm-down", "--volumes", "--yes")
    assert result.code == 0 and "The data of store-data is kept on the NFS server" in result.out, result
    assert starts(machine), "the volume is gone from the node, its data is the server's"
    secrets = machine.engine.docker("secret", "ls", "--format", "{{.Name}}").split()
    assert any(name.startswith("small_settings-") for name in secrets), "the data needs its tokens and its CA"
    machine.engine.docker("volume", "create", "small_store-data")
    result = deployed.run("swarm-up")
    assert result.code == 1 and "uml already has a volume store-data that is not the one on NFS" in result.error, result
    eventually("store's volume removed", lambda: removed(machine))
