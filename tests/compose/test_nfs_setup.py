"""nfs-setup on one machine. The kernel of these machines has no NFS client, so the mount itself is refused; the rest of
the check runs in a real container on another kind of volume."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from machine import Machine
from waiting import BOUND

from openbalena.base.project import ROOT
from openbalena.machine import build, nfs_volumes
from openbalena.operations.machine import ensure_lab_base, load_machine
from openbalena.operations.workspace import Workspace
from openbalena.storage import nfs

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

SERVER = ("--nfs-host", "192.0.2.1", "--yes")


def containers(machine: Machine) -> str:
    return machine.docker("ps", "--all", "--quiet")


def files(machine: Machine) -> list[Path]:
    """What the project's directory contains besides the log of each run."""
    return sorted(path for path in machine.directory.iterdir() if path != machine.project.logs)


def test_a_machine_that_cannot_mount_is_told_why_and_nothing_is_changed(machine: Machine) -> None:
    assert "\tnfs4\n" not in Path("/proc/filesystems").read_text(), "this kernel has NFS: it cannot show a refusal"
    before = machine.env, files(machine)
    done = machine.run("nfs-setup", *SERVER, code=1)
    assert "this machine cannot use the export; nothing was changed: the node's kernel has no NFS client" in done.stderr
    assert (machine.env, files(machine)) == before
    assert not containers(machine) and not machine.docker("volume", "ls", "--quiet"), "the check leaves nothing"


def test_what_is_no_volume_and_who_is_no_host_is_wrong_use(machine: Machine) -> None:
    done = machine.run("nfs-setup", *SERVER, "--nfs-volumes", "s3-data,x", code=2)
    assert "NFS_VOLUMES: x: expected volumes" in done.stderr
    assert "NFS_HOST" in machine.run("nfs-setup", "--yes", code=2).stderr
    done = machine.run("nfs-setup", "--nfs-host", "192.0.2.1", code=2)
    assert "two servers on one directory corrupt it" in done.stderr and "--yes" in done.stderr


def test_local_volumes_are_not_hidden(machine: Machine) -> None:
    for name in ("db-data", "s3-data"):
        machine.docker("volume", "create", "--label", f"com.docker.compose.project={machine.name}",
                       f"{machine.name}_{name}")  # fmt: skip
    try:
        done = machine.run("nfs-setup", *SERVER, code=1)
        assert "would hide: db-data, s3-data: stop the services" in done.stderr
        assert f"`docker volume rm {machine.name}_db-data {machine.name}_s3-data`" in done.stderr
        assert len(machine.volumes) == 2
        chosen = machine.run("nfs-setup", *SERVER, "--nfs-volumes", "redis-data", code=1)
        assert "no NFS client" in chosen.stderr, "the others may stay local"
    finally:
        machine.run("destroy", "--yes")


def test_up_refuses_settings_that_nfs_setup_has_not_checked(machine: Machine) -> None:
    before = machine.env
    machine.project.env_file.write_text(f"{before}USE_NFS=true\nNFS_HOST=192.0.2.1\n")
    try:
        done = machine.run("up", code=2)
        assert "docker-compose.nfs.yml: does not match the NFS settings: run " in done.stderr
        assert f"--project-directory {machine.directory} nfs-setup" in done.stderr
        assert not machine.volumes and not containers(machine)
    finally:
        machine.project.env_file.write_text(before)


def test_up_makes_the_volumes_there_and_refuses_to_leave_them(machine: Machine) -> None:
    before = machine.env
    machine.project.env_file.write_text(f"{before}USE_NFS=true\nNFS_HOST=192.0.2.1\nNFS_VOLUMES=s3-data,pki-data\n")
    standalone = load_machine(Workspace(machine.project, True), nfs=False)
    machine.project.nfs_file.write_text(nfs_volumes.override_text(standalone.settings, ["pki-data", "s3-data"]))
    try:
        assert "no such device" in machine.run("up", code=1).stderr, "it looks into a volume that cannot be mounted"
        (made,) = json.loads(machine.docker("volume", "inspect", f"{machine.name}_s3-data"))
        assert made["Options"]["device"] == ":/openbalena/s3-data" and "nfsvers=4.1" in made["Options"]["o"]
        assert machine.volumes == {f"{machine.name}_{name}" for name in ("pki-data", "s3-data")}
        machine.project.env_file.write_text(before)
        done = machine.run("up", code=1)
        assert "with data on NFS that the settings no longer put there: pki-data, s3-data" in done.stderr
    finally:
        machine.project.env_file.write_text(before)
        machine.project.nfs_file.unlink()
        machine.run("destroy", "--yes")


@pytest.mark.parametrize(("options", "words"), [("size=1m", ""), ("size=1m,ro", "the export is read-only")])
def test_the_check_runs_in_a_container(
    machine: Machine, options: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmpfs = {"type": "tmpfs", "device": "tmpfs", "o": options}
    monkeypatch.setattr(nfs, "driver_options", lambda settings: tmpfs)
    standalone = load_machine(Workspace(machine.project, True))
    ensure_lab_base(standalone)
    outcome = nfs_volumes.check_server(
        standalone, build.any_image(standalone, lambda _: None), ["db-data", "s3-data"], BOUND
    )
    assert words in nfs.explain_result(outcome) and outcome.ok is (not words), outcome
    assert not containers(machine) and not machine.docker("volume", "ls", "--quiet")


def test_plain_docker_compose_has_the_volumes_there_and_the_users_override(machine: Machine, tmp_path: Path) -> None:
    shutil.copy(ROOT / "docker-compose.yml", tmp_path)
    copied = Machine(tmp_path, machine.lab)
    settings = load_machine(Workspace(machine.project, True)).settings
    copied.project.nfs_file.write_text(
        nfs_volumes.override_text({**settings, "NFS_HOST": "nfs.example.com"}, ["s3-data"])
    )
    copied.project.override_file.write_text("services: {redis: {labels: {mine: here}}}\n")
    copied.project.env_file.write_text(f"{machine.env}COMPOSE_FILE={nfs_volumes.compose_file(copied.project)}\n")
    done = subprocess.run(
        [machine.lab.cli, "compose", "config", "--format", "json"],
        env={"PATH": os.environ["PATH"], "DOCKER_CONFIG": str(machine.lab.cli.parent)},
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    seen = json.loads(done.stdout)
    assert seen["volumes"]["s3-data"]["driver_opts"]["device"] == ":/openbalena/s3-data"
    assert seen["services"]["redis"]["labels"] == {"mine": "here"}
