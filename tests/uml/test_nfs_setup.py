"""nfs-setup for Docker Compose, with a real NFS server and client."""

import json

import pytest
from nfs_server import EXPORT, export, serve, starts
from swarm_project import Small
from uml_machine import Machine

pytestmark = pytest.mark.cluster


def test_one_machines_data_is_on_the_export_and_outlives_the_volume(small: Small, machine: Machine) -> None:
    serve(machine)
    machine.shell(f"rm -rf {EXPORT}; mkdir -p {EXPORT}")
    export(machine, "ro,no_root_squash")
    where = ("--nfs-host", machine.address, "--nfs-path", EXPORT, "--yes")
    try:
        result = small.run("nfs-setup", *where)
        assert result.code == 1 and "nothing was changed: the export is read-only" in result.error, result
        export(machine, "rw,no_root_squash")
        result = small.run("nfs-setup", *where)
        assert result.code == 0 and "mounted, written, owned and read" in result.out, result
        for count in (1, 2):
            result = small.run("up")
            assert result.code == 0, result
            assert len(starts(machine)) == count
            (volume,) = machine.engine.docker("volume", "ls", "--quiet", "--filter", "name=store-data").split()
            (made,) = json.loads(machine.engine.docker("volume", "inspect", volume))
            assert made["Options"]["device"] == f":{EXPORT}/store-data"
            result = small.run("destroy", "--yes")
            assert result.code == 0 and volume not in machine.engine.docker("volume", "ls", "--quiet"), result
    finally:
        small.run("destroy", "--yes")
        small.settings(USE_NFS="false")
