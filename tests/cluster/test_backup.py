"""A backup of the whole deployment into a directory of a node that has none of its data, and what it has; one that is
killed half-way does not count. The first is restored for a trial. The expected time is two minutes, most of it for the
image and the tasks."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from deployed_project import STACK, command, tool

from openbalena.base.names import BACKUP_SECRETS, backup_network
from openbalena.base.polling import poll
from openbalena.base.project import Project
from openbalena.docker.engine import Engine
from openbalena.operations.engines import default_engine

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
DIRECTORY = "/srv/openbalena-backup"


def node_of(project: Project, volume: str) -> str:
    shown = json.loads(tool(project, "storage", "show", "--json").stdout)["volumes"]
    return str(next(each["node"] for each in shown if each["volume"] == volume))


@pytest.fixture
def backup(deployed: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """Settings with a repository, the images that they need, and the engine of the node that has it."""
    taken = {node_of(deployed, volume) for volume in ("db-data", "s3-data")}
    home = next(each for each in default_engine(True).nodes if each.name not in taken)
    monkeypatch.setenv("BACKUP_REPOSITORY", DIRECTORY)
    monkeypatch.setenv("BACKUP_NODE", home.name)
    monkeypatch.setenv("BACKUP_PASSWORD", "a-password-of-the-test")
    built = tool(deployed, "swarm-build")
    assert built.returncode == 0, built.stdout + built.stderr
    # The engine creates a directory that is to be mounted.
    in_repository(home, "true")
    yield home
    in_repository(home, "rm -rf /repository/*")


def in_repository(home: Engine, script: str) -> str:
    """What a container with the repository prints."""
    words = ("run", "--rm", "--volume", f"{DIRECTORY}:/repository", "--entrypoint", "/bin/sh")
    environment = ("--env", "RESTIC_REPOSITORY=/repository", "--env", "RESTIC_PASSWORD=a-password-of-the-test")
    return home.docker(*words, *environment, "openbalena-lab/backup:latest", "-c", script).strip()


def database(project: Project, statement: str) -> str:
    """What the deployment's database says."""
    home = node_of(project, "db-data")
    engine = next(each for each in default_engine(True).nodes if each.name == home)
    name = engine.docker("ps", "--quiet", "--filter", f"name={STACK}_db.", "--filter", "health=healthy").strip()
    words = ("psql", "-U", "docker", "-d", "resin", "-qtAc", statement)
    return engine.docker("exec", "--user", "postgres", name, *words).strip()


def restored_for_a_trial(project: Project, made: dict[str, Any]) -> None:
    """Everything that the backup should have is there, and no volume of the trial is left."""
    engine = default_engine(True)
    before = engine.docker("volume", "ls", "--quiet")
    verified = tool(project, "backup", "verify", "--read-data", "100", "--json")
    assert verified.returncode == 0, verified.stderr
    found = json.loads(verified.stdout)
    assert found["manifest"]["set"] == made["set"] and found["problems"] == []
    assert found["trial"]["database"]["rows"] == made["rows"]
    poll(lambda: engine.docker("volume", "ls", "--quiet"), lambda left: left == before, 10.0, 0.5)
    assert engine.docker("volume", "ls", "--quiet") == before


def test_a_backup_has_everything_and_a_killed_one_does_not_count(deployed: Project, backup: Engine) -> None:
    done = tool(deployed, "backup", "create", "--json")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert list(made["parts"]) == ["database", "s3-data", "settings"]
    assert str(made["rows"]["device"]) == database(deployed, "SELECT count(*) FROM device")
    assert made["migrations"] and made["nodes"].keys() == {"node1", "node2", "node3"}

    dumped = f"restic dump {made['parts']['database']['snapshot']} database.dump | pg_restore --list"
    assert "TABLE DATA public device " in in_repository(backup, dumped)
    stored = in_repository(backup, f"restic ls {made['parts']['s3-data']['snapshot']}")
    assert "/openbalena-volumes/s3-data/registry-data" in stored

    restored_for_a_trial(deployed, made)
    pruned = tool(deployed, "backup", "prune", "--keep-last", "1", "--yes", "--json")
    assert pruned.returncode == 0, pruned.stderr
    plan = json.loads(pruned.stdout)
    assert [each["id"] for each in plan["kept"]] == [made["set"]] and not plan["removed"]

    with subprocess.Popen(command(deployed, "backup", "create"), stderr=subprocess.PIPE, text=True) as second:
        assert second.stderr is not None
        assert any(line.startswith("saving the volume s3-data") for line in second.stderr)
        second.kill()
    listed = tool(deployed, "backup", "list", "--json")
    assert listed.returncode == 0, listed.stderr
    found = json.loads(listed.stdout)
    assert [each["id"] for each in found["backups"]] == [made["set"]] and len(found["unfinished"]) == 1

    checked = tool(deployed, "backup", "check")
    assert checked.returncode == 0 and made["set"] in checked.stdout, checked.stderr
    with default_engine(True).client() as client:
        assert not {each.name for each in client.secrets.list()} & {*BACKUP_SECRETS}
        assert not client.networks.list(names=[backup_network(STACK)])
