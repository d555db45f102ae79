"""nfs-setup for Docker Compose, with a real NFS server and client. `up` needs openBalena's own services: the small
deployment is started by plain `docker compose`, which reads what nfs-setup wrote."""

import json
import subprocess
from functools import partial

import pytest
from nfs_server import EXPORT, begin, export, starts
from swarm_project import Small
from uml_machine import Machine
from waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


def test_one_machines_data_is_on_the_export_and_outlives_the_volume(small: Small, machine: Machine) -> None:
    begin(machine)
    export(machine, "ro,no_root_squash")
    where = ("--nfs-host", machine.address, "--nfs-path", EXPORT, "--yes")
    try:
        result = small.run("nfs-setup", *where)
        assert result.code == 1 and "nothing was changed: the export is read-only" in result.error, result
        export(machine, "rw,no_root_squash")
        result = small.run("nfs-setup", *where)
        assert result.code == 0 and "mounted, written to, chowned and read" in result.out, result
        for count in (1, 2):
            compose(small, machine, "up", "--detach", "store")
            eventually(f"start {count} of the store", partial(started, machine, count))
            (volume,) = machine.engine.docker("volume", "ls", "--quiet", "--filter", "name=store-data").split()
            (made,) = json.loads(machine.engine.docker("volume", "inspect", volume))
            assert made["Options"]["device"] == f":{EXPORT}/store-data"
            compose(small, machine, "down", "--volumes")
            assert volume not in machine.engine.docker("volume", "ls", "--quiet")
    finally:
        compose(small, machine, "down", "--volumes")
        small.settings(USE_NFS="false", COMPOSE_FILE="docker-compose.yml")
        small.project.nfs_file.unlink(missing_ok=True)


def started(machine: Machine, count: int) -> bool:
    """Whether store has started so often: Compose says so of a container before its program has written anything."""
    return len(starts(machine)) == count


def compose(small: Small, machine: Machine, *words: str) -> None:
    command, environment = machine.engine.command("compose", *words), machine.engine.process_environment()
    subprocess.run(command, env=environment, cwd=small.directory, check=True, timeout=120)
