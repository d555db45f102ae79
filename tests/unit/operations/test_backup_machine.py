"""backup on one machine: the containers that save the parts, and what they are given."""

import base64
import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from compose_program import NAME, add_container, workspace_of
from fake_engine import FakeEngine
from hearing import Listener

from openbalena.base.errors import OperationError
from openbalena.base.names import BACKUP_SECRETS, JOB_LABEL, JOB_OWNER_LABEL
from openbalena.operations import backup
from openbalena.operations.backup import BackupOptions
from openbalena.operations.backup_verify import verify_backup
from openbalena.operations.workspace import Workspace
from openbalena.pki import archive

OPTIONS = BackupOptions(60.0)
REPOSITORY, LOGIN, MANIFEST = BACKUP_SECRETS


def result(snapshot: str) -> str:
    return "result " + json.dumps({"snapshot_id": snapshot, "total_bytes_processed": 5, "total_files_processed": 1})


SERVICES = """
services:
  db: {image: a, volumes: ["db-data:/data"]}
  s3: {image: b, volumes: ["s3-data:/export"]}
volumes: {db-data: {}, s3-data: {}}
"""


@pytest.fixture
def workspace(tmp_path: Path, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """A deployment that runs on an engine that is in no swarm, and containers that succeed."""
    settings = {"BACKUP_REPOSITORY": "/srv/backup", "BACKUP_PASSWORD": "a-password", "BACKUP_IMAGE": "backup:mine"}
    made, _ = workspace_of(SERVICES, tmp_path, fake, monkeypatch, **settings)
    (tmp_path / "pki").mkdir()
    (tmp_path / "pki" / "ca-0-key.pem").write_text("a key")
    fake.images.add("backup:mine")
    add_container(fake, "db")
    fake.containers[f"{NAME}-db-1"]["NetworkSettings"] = {"Networks": {f"{NAME}_data": {}}}
    fake.volumes |= {f"{NAME}_db-data": {}, f"{NAME}_s3-data": {}}
    answers = base64.b64encode(gzip.compress(b'server 18.1\nmigrations ["00001"]\nrows device 3\n')).decode()
    fake.endings["backup-database"] = (0, [f"answers {answers}", result("d1")])
    for part in ("s3-data", "settings", "manifest"):
        fake.endings[f"backup-{part}"] = (0, [result(part)])
    yield made
    assert list(fake.containers) == [f"{NAME}-db-1"], "nothing is left"


def purposes(fake: FakeEngine) -> list[str]:
    return [made["Labels"]["openbalena.job"] for made in fake.made]


def test_the_parts_are_saved_in_their_order(workspace: Workspace, fake: FakeEngine) -> None:
    made = backup.create_backup(OPTIONS, workspace, Listener())
    assert purposes(fake) == [f"backup-{part}" for part in ("database", "s3-data", "settings", "manifest")]
    assert (made.mode, made.rows, made.release, made.images) == ("compose", {"device": 3}, None, {"db": "image"})
    networks = [made["HostConfig"]["NetworkMode"] for made in fake.made]
    assert networks == [f"{NAME}_data", "bridge", "bridge", "bridge"] and not fake.connected


def test_an_object_store_is_reached_from_an_internal_network_too(workspace: Workspace, fake: FakeEngine) -> None:
    configured = workspace.project.env_file.read_text().replace("=/srv/backup", "=s3:https://host/bucket")
    workspace.project.env_file.write_text(configured)
    backup.create_backup(OPTIONS, workspace, Listener())
    networks = [made["HostConfig"]["NetworkMode"] for made in fake.made]
    assert networks == [f"{NAME}_data", "bridge", "bridge", "bridge"] and fake.connected == ["bridge"]
    assert [len(made["HostConfig"]["Mounts"]) for made in fake.made] == [0, 1, 0, 0]


def test_secrets_are_files_and_volumes_are_only_read(workspace: Workspace, fake: FakeEngine) -> None:
    backup.create_backup(OPTIONS, workspace, Listener())
    assert "a-password" not in json.dumps(fake.made)
    database, _, settings, manifest = fake.written
    assert b"RESTIC_REPOSITORY=/openbalena-repository\n" in database[f"run/secrets/{REPOSITORY}"]
    assert database[f"run/secrets/{LOGIN}"].startswith(b"*:*:*:openbalena_a:")
    packed = archive.pack_archive(workspace.project.directory, workspace.project.pki)
    assert settings["run/secrets/settings.tar.gz"] == packed
    assert json.loads(manifest[f"run/secrets/{MANIFEST}"])["parts"].keys() == {"database", "s3-data", "settings"}
    mounts = [made["HostConfig"]["Mounts"] for made in fake.made]
    assert all(made[-1]["Type"] == "bind" and made[-1]["Source"] == "/srv/backup" for made in mounts)
    assert [(each["Source"], each["ReadOnly"]) for each in mounts[1][:-1]] == [(f"{NAME}_s3-data", True)]


def test_a_part_that_fails_ends_it(workspace: Workspace, fake: FakeEngine) -> None:
    fake.endings["backup-s3-data"] = (1, ["no space left"])
    with pytest.raises(
        OperationError, match="the volume s3-data could not be saved, so there is no new backup: no space left"
    ):
        backup.create_backup(OPTIONS, workspace, Listener())
    assert purposes(fake)[-1] == "backup-s3-data"


def test_without_the_objects_there_is_no_backup(workspace: Workspace, fake: FakeEngine) -> None:
    del fake.volumes[f"{NAME}_s3-data"]
    with pytest.raises(OperationError, match="volume s3-data, which has the objects, was not found"):
        backup.create_backup(OPTIONS, workspace, Listener())
    assert fake.made == []


def test_without_a_database_nothing_is_saved(workspace: Workspace, fake: FakeEngine) -> None:
    fake.containers[f"{NAME}-db-1"]["State"]["Status"] = "exited"
    with pytest.raises(OperationError, match="db is not running"):
        backup.create_backup(OPTIONS, workspace, Listener())
    assert fake.made == []


def test_what_a_killed_command_left_is_removed(workspace: Workspace, fake: FakeEngine) -> None:
    fake.container("left", {JOB_LABEL: "backup-database", JOB_OWNER_LABEL: NAME})
    backup.create_backup(OPTIONS, workspace, Listener())


def test_what_another_deployment_on_the_engine_runs_is_left_alone(workspace: Workspace, fake: FakeEngine) -> None:
    fake.container("theirs", {JOB_LABEL: "backup-database", JOB_OWNER_LABEL: f"{NAME}2"})
    backup.create_backup(OPTIONS, workspace, Listener())
    assert fake.containers.pop("theirs")


def test_backups_are_listed(workspace: Workspace, fake: FakeEngine) -> None:
    fake.endings["backup-list"] = (0, [base64.b64encode(gzip.compress(b"[]")).decode()])
    assert backup.list_backups(OPTIONS, workspace, Listener()).backups == ()


def test_a_deployment_on_a_manager_has_its_repository_here(workspace: Workspace, fake: FakeEngine) -> None:
    """BACKUP_NODE may be left from the stack that it was migrated from."""
    fake.swarm.node("node1", "manager")
    with workspace.project.env_file.open("a") as file:
        file.write("BACKUP_NODE=node2\n")
    fake.endings["backup-list"] = (0, [base64.b64encode(gzip.compress(b"[]")).decode()])
    assert backup.list_backups(OPTIONS, workspace, Listener()).backups == ()
    assert purposes(fake) == ["backup-list"] and not fake.swarm.created


def test_a_backup_is_restored_for_a_trial_without_a_volume(workspace: Workspace, fake: FakeEngine) -> None:
    made = backup.create_backup(OPTIONS, workspace, Listener())
    tags = [f"set={made.set}", "part=manifest", *(f"has={name}:{part.snapshot}" for name, part in made.parts.items())]
    common = {"time": "2026-11-26T10:00:00Z", "hostname": "my.example.com"}
    snapshots = [{**common, "id": part.snapshot, "tags": []} for part in made.parts.values()]
    snapshots.append({**common, "id": "manifest", "tags": tags})
    for purpose, answer in {"list": json.dumps(snapshots), "check": made.text()}.items():
        fake.endings[f"backup-{purpose}"] = (0, [base64.b64encode(gzip.compress(answer.encode())).decode()])
    answers = base64.b64encode(gzip.compress(b'server 18.1\nmigrations ["00001"]\nrows device 3\n')).decode()
    fake.endings["backup-verify"] = (0, [f"answers {answers}", "files s3-data 1 5", "complete"])
    found = verify_backup("latest", 10, OPTIONS, workspace, Listener())
    assert found.problems == () and purposes(fake)[-1] == "backup-verify"
    (repository,) = fake.made[-1]["HostConfig"]["Mounts"]
    assert repository["Source"] == "/srv/backup"
