"""restore on one machine: its settings from the backup alone, and the containers that fill the volumes."""

import base64
import gzip
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from backup_facts import MANIFEST, PARTS, saved
from compose_program import NAME, add_container, workspace_of
from fake_engine import FakeEngine
from hearing import Listener

from openbalena.backup.clone_database import UnjoinedDevice
from openbalena.base import locks
from openbalena.base.errors import OperationError, UsageError
from openbalena.base.files import write_atomic
from openbalena.base.names import COMPOSE_VOLUME_LABEL, PROJECT_LABEL
from openbalena.machine.deployment import Standalone
from openbalena.operations import restore as restores
from openbalena.operations import restore_settings
from openbalena.operations.machine import load_machine
from openbalena.operations.restore import RestoreRequest, restore
from openbalena.operations.start_machine import StartOptions
from openbalena.operations.workspace import Workspace
from openbalena.pki import store
from openbalena.settings import read
from openbalena.settings.variables import variables
from openbalena.swarm import encrypted_read

REQUEST = RestoreRequest("latest", 60.0)
SERVICES = """
services:
  db: {image: a, volumes: ["db-data:/data"]}
  s3: {image: b, volumes: ["s3-data:/export"]}
volumes: {db-data: {}, s3-data: {}}
"""
ENV = f"DNS_TLD=my.example.com\nCOMPOSE_PROJECT_NAME={NAME}\nBACKUP_REPOSITORY=/mnt/old\nSUPERUSER_EMAIL=me@x.org\n"
DEVICES = """{"uuid": "d1", "name": "first", "fleet": "admin/fleet", "seen": ""}"""
CLONE = replace(REQUEST, clone="clone.example.org")
MINE = "BACKUP_REPOSITORY=/srv/backup\nBACKUP_PASSWORD=a-password\nBACKUP_IMAGE=backup:mine\n"


def packed(text: str) -> str:
    return base64.b64encode(gzip.compress(text.encode())).decode()


def archive(**files: str) -> bytes:
    """What a backup has of the settings; `_` in a name stands for a slash."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as made:
        for name, content in files.items():
            entry = tarfile.TarInfo(name.replace("_", "/"))
            entry.size, entry.mode = len(content), 0o600
            made.addfile(entry, io.BytesIO(content.encode()))
    return stream.getvalue()


@pytest.fixture
def workspace(tmp_path: Path, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """A machine that has only where its backups are."""
    made, _ = workspace_of(SERVICES, tmp_path, fake, monkeypatch)
    made.project.env_file.write_text(MINE)
    fake.images.add("backup:mine")
    manifest = replace(MANIFEST, parts=saved(PARTS), images={}, mode="compose")
    tags = ["openbalena", "set=s1", "part=manifest", "mode=compose", *(f"has={n}:{s}" for n, s in PARTS.items())]
    others = [{"id": each, "time": "2026", "hostname": "", "tags": []} for each in PARTS.values()]
    own = {"id": "m1", "time": "2026-11-26T10:01:00Z", "hostname": "my.example.com", "tags": tags}
    fake.endings["backup-list"] = (0, [packed(json.dumps([*others, own]))])
    fake.endings["backup-check"] = (0, [packed(manifest.text())])
    fake.endings["backup-authority"] = (0, ["a certificate"])
    fake.endings["backup-inspect"] = (0, ["server 18.1", "space / 1000 overlay", "complete"])
    fake.endings["backup-fill-s3-data"] = (0, ["files 1"])
    fake.endings["backup-fill-database"] = (0, [f"answers {packed('server 18.1')}"])
    fake.endings["backup-devices"] = (0, [f"answers {packed(DEVICES)}"])
    offer(monkeypatch, archive(**{".env": ENV, "pki_ca-0.pem": "a certificate", "pki_ca-0-key.pem": "a key"}))

    def start(options: StartOptions, workspace: Workspace, reporter: Listener) -> Any:
        standalone: Standalone = load_machine(workspace)
        assert options.restoring is not None
        with options.restoring(standalone) as fill:
            if f"{NAME}-db-1" not in fake.containers:
                add_container(fake, "db")
                fake.containers[f"{NAME}-db-1"]["NetworkSettings"] = {"Networks": {f"{NAME}_data": {}}}
            fill()
        return SimpleNamespace(settings=standalone.settings)

    monkeypatch.setattr(restores, "start_machine", start)
    monkeypatch.setattr(restores, "public_addresses", lambda *_: ())
    yield made
    assert not [name for name in fake.containers if name != f"{NAME}-db-1"], "nothing is left"


def offer(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """Let the container print these settings; how they are encrypted is tested with encrypted_read."""
    monkeypatch.setattr(
        encrypted_read, "new_recipient", lambda: SimpleNamespace(script=lambda file: "", content=lambda lines: content)
    )


def purposes(fake: FakeEngine) -> list[str]:
    return [made["Labels"]["openbalena.job"].removeprefix("backup-") for made in fake.made]


def test_a_machine_with_only_the_repository_gets_everything(workspace: Workspace, fake: FakeEngine) -> None:
    done = restore(REQUEST, workspace, Listener())
    examined = ["list", "check", "authority", "inspect"]
    assert purposes(fake) == ["list", "settings", *examined, *examined, "fill-s3-data", "fill-database"]
    assert done.files == ("pki", ".env")
    values = read(workspace.project)
    assert (values["DNS_TLD"], values["SUPERUSER_EMAIL"]) == ("my.example.com", "me@x.org")
    assert (values["BACKUP_REPOSITORY"], values["BACKUP_PASSWORD"]) == ("/srv/backup", "a-password")
    assert (workspace.project.pki / "ca-0-key.pem").read_text() == "a key"
    assert workspace.project.env_file.stat().st_mode & 0o777 == 0o600
    assert [path.read_text() for path in workspace.project.directory.glob(".env.*")] == [MINE]
    assert not (workspace.project.directory / ".restoring").exists()
    assert fake.volumes[f"{NAME}_s3-data"] == {PROJECT_LABEL: NAME, COMPOSE_VOLUME_LABEL: "s3-data"}
    assert fake.made[-1]["HostConfig"]["NetworkMode"] == f"{NAME}_data"


def test_a_manager_can_get_a_deployment_on_its_machine(workspace: Workspace, fake: FakeEngine) -> None:
    fake.swarm.node("node1", "manager")
    restore(replace(REQUEST, machine=True), workspace, Listener())
    assert purposes(fake)[-2:] == ["fill-s3-data", "fill-database"]


def test_a_locked_swarm_is_not_taken_for_one_machine(workspace: Workspace, fake: FakeEngine) -> None:
    restore(replace(REQUEST, only_settings=True), workspace, Listener())
    fake.says = {"LocalNodeState": "locked", "ControlAvailable": False}
    with pytest.raises(OperationError, match="the swarm is locked: run `docker swarm unlock` there"):
        restore(REQUEST, workspace, Listener())
    assert purposes(fake) == ["list", "settings"]


def test_settings_alone_can_be_restored(workspace: Workspace, fake: FakeEngine) -> None:
    done = restore(replace(REQUEST, only_settings=True), workspace, Listener())
    assert (done.files, done.manifest) == (("pki", ".env"), None) and purposes(fake) == ["list", "settings"]
    again = restore(replace(REQUEST, only_settings=True), workspace, Listener())
    assert again.files == () and len(fake.made) == 2


@pytest.mark.parametrize("replaced", [False, True])
def test_another_pki_is_kept(replaced: bool, workspace: Workspace, fake: FakeEngine) -> None:
    workspace.project.pki.mkdir()
    (workspace.project.pki / "ca-0-key.pem").write_text("another key")
    request = replace(REQUEST, only_settings=True, replace_settings=replaced)
    if replaced:
        restore(request, workspace, Listener())
        (aside,) = workspace.project.directory.glob("pki.*")
        assert (aside / "ca-0-key.pem").read_text() == "another key"
        return
    with pytest.raises(OperationError, match="ca-0-key.pem is not the one in the backup: move"):
        restore(request, workspace, Listener())
    assert workspace.project.env_file.read_text() == MINE
    assert (workspace.project.pki / "ca-0-key.pem").read_text() == "another key"


@pytest.mark.parametrize("replaced", [False, True])
def test_an_override_that_the_backup_lacks_does_not_survive_a_replacement(replaced: bool, workspace: Workspace) -> None:
    """Its services would be started with the settings of the backup."""
    override = workspace.project.override_file
    override.write_text("services: {}\n")
    request = replace(REQUEST, only_settings=True, replace_settings=replaced)
    assert restore(request, workspace, Listener()).files == ("pki", ".env")
    aside = [path.read_text() for path in override.parent.glob(f"{override.name}.*")]
    assert (override.exists(), aside) == ((False, ["services: {}\n"]) if replaced else (True, []))


def test_an_interrupted_one_begins_again(workspace: Workspace, fake: FakeEngine) -> None:
    """Killed after the PKI was renamed and before .env was written."""
    workspace.project.pki.mkdir()
    (workspace.project.pki / "ca-0.pem").write_text("a certificate")
    (workspace.project.pki / "ca-0-key.pem").write_text("a key")
    (workspace.project.directory / ".restoring").mkdir()
    assert restore(replace(REQUEST, only_settings=True), workspace, Listener()).files == ("pki", ".env")


def test_killed_while_it_replaces_settings_it_does_not_leave_those_with_the_new_keys(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = workspace.project
    project.env_file.write_text(f"{MINE}DNS_TLD=my.example.com\n")
    project.pki.mkdir()
    (project.pki / "ca-0-key.pem").write_text("another key")

    def killed(path: Path, content: bytes | str, mode: int) -> None:
        if path == project.env_file and "SUPERUSER_EMAIL=me@x.org" in str(content):
            raise KeyboardInterrupt
        write_atomic(path, content, mode)

    with monkeypatch.context() as patch:
        patch.setattr(restore_settings, "write_atomic", killed)
        with pytest.raises(KeyboardInterrupt):
            restore(replace(REQUEST, only_settings=True, replace_settings=True), workspace, Listener())
    assert (project.pki / "ca-0-key.pem").read_text() == "a key" and not read(project).get("DNS_TLD")
    (aside,) = project.directory.glob("pki.*")
    assert (aside.rename(project.directory / "mine") / "ca-0-key.pem").read_text() == "another key"
    assert restore(replace(REQUEST, only_settings=True), workspace, Listener()).files == ("pki", ".env")
    assert read(project)["SUPERUSER_EMAIL"] == "me@x.org" and read(project)["BACKUP_REPOSITORY"] == "/srv/backup"


@pytest.mark.parametrize(
    ("files", "error"),
    [
        ({".env": ENV.replace("my.", "your.")}, "the settings in the backup are those of your.example.com"),
        ({".env": ENV + "PKI_DIR=/elsewhere\n"}, "have PKI_DIR=/elsewhere"),
        ({".env": ENV, "pki_.._.._etc_x": "climbs"}, "unexpected entry"),
    ],
)
def test_an_archive_that_does_not_fit_changes_nothing(
    files: dict[str, str], error: str, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, archive(**files))
    before = sorted(workspace.project.directory.rglob("*"))
    with pytest.raises(OperationError, match=error):
        restore(REQUEST, workspace, Listener())
    assert workspace.project.env_file.read_text() == MINE
    assert {path.name for path in {*workspace.project.directory.rglob("*")} - {*before}} <= {locks.NAME}


def test_existing_volumes_are_inspected_and_their_data_is_kept(workspace: Workspace, fake: FakeEngine) -> None:
    fake.volumes[f"{NAME}_s3-data"] = {}
    fake.endings["backup-inspect"] = (0, ["server 18.1", "space / 1000 overlay", "used s3-data", "complete"])
    with pytest.raises(OperationError, match="has data in s3-data, which would be lost"):
        restore(REQUEST, workspace, Listener())
    restore(replace(REQUEST, overwrite=True), workspace, Listener())
    assert purposes(fake)[-3:] == ["empty", "fill-s3-data", "fill-database"]


def test_an_empty_machine_needs_room_too(workspace: Workspace, fake: FakeEngine) -> None:
    fake.endings["backup-inspect"] = (0, ["server 18.1", "space / 0 overlay", "complete"])
    with pytest.raises(OperationError, match=r"this machine \(overlay\) has 0 bytes free, but 8 are needed there"):
        restore(REQUEST, workspace, Listener())


def test_a_backup_of_a_cluster_is_restored_after_a_question(workspace: Workspace, fake: FakeEngine) -> None:
    manifest = replace(MANIFEST, parts=saved(PARTS), images={})
    fake.endings["backup-check"] = (0, [packed(manifest.text())])
    listener = Listener(agrees=False)
    with pytest.raises(OperationError, match="nothing was restored"):
        restore(REQUEST, workspace, listener)
    assert listener.questions[0].startswith("Backup s1 is of a cluster, but this machine is not a manager of one.")


def test_a_clone_has_another_domain_and_a_ca_and_tokens_of_its_own(workspace: Workspace, fake: FakeEngine) -> None:
    done = restore(CLONE, workspace, Listener())
    assert purposes(fake)[-3:] == ["fill-s3-data", "fill-database", "devices"]
    assert done.unjoined == (UnjoinedDevice("d1", "first", "admin/fleet", ""),) and done.files == ("pki", ".env")
    values = read(workspace.project)
    assert (values["DNS_TLD"], values["SUPERUSER_EMAIL"]) == ("clone.example.org", "me@x.org")
    assert (values["BACKUP_REPOSITORY"], values["BACKUP_PASSWORD"]) == ("/srv/backup", "a-password")
    assert all(values.get(name) for name, variable in variables().items() if variable.token)
    store.require(workspace.project.pki, "clone.example.org")
    changed = next(str(made) for made in fake.made if made["Labels"]["openbalena.job"] == "backup-fill-database")
    assert "registry2.clone.example.org/" in changed and "restored from backup s1 as clone.example.org" in changed
    assert not (workspace.project.directory / ".restoring").exists()


def test_settings_of_a_clone_alone_are_made_once(workspace: Workspace, fake: FakeEngine) -> None:
    alone = replace(CLONE, only_settings=True)
    assert restore(alone, workspace, Listener()).files == ("pki", ".env") and purposes(fake) == ["list", "settings"]
    before = workspace.project.env_file.read_text(), (workspace.project.pki / "ca-0.pem").read_text()
    (workspace.project.directory / ".restoring" / "pki").mkdir(parents=True)
    assert restore(alone, workspace, Listener()).files == ()
    assert (workspace.project.env_file.read_text(), (workspace.project.pki / "ca-0.pem").read_text()) == before
    assert not (workspace.project.directory / ".restoring").exists(), "what a killed run left has the original's CA key"


def test_an_interrupted_clone_is_completed(workspace: Workspace, fake: FakeEngine) -> None:
    """Killed after its CA was made; then after a volume was filled, when there is a newer backup; and at the end."""
    store.ensure_files(workspace.project.pki, "clone.example.org")
    authority = (workspace.project.pki / "ca-0.pem").read_text()
    fake.endings["backup-fill-database"] = (1, ["killed"])
    with pytest.raises(OperationError, match="restoring the database failed: killed"):
        restore(CLONE, workspace, Listener())
    assert (workspace.project.pki / "ca-0.pem").read_text() == authority
    begun = [
        "server 18.1",
        "space / 1000 overlay",
        "mark s3-data s0 as clone.example.org done",
        "used s3-data",
        "complete",
    ]
    fake.endings["backup-inspect"], fake.endings["backup-state"] = (0, begun), (0, ["empty"])
    with pytest.raises(OperationError, match="a restore of backup s0 has begun to fill: name that backup to continue"):
        restore(CLONE, workspace, Listener())
    begun[2] = "mark s3-data s1 as clone.example.org done"
    fake.endings["backup-fill-s3-data"] = (0, ["restored before"])
    fake.endings["backup-fill-database"] = (0, ["restored before"])
    done = restore(CLONE, workspace, Listener())
    assert done.rows is None and len(done.unjoined) == 1
    assert "empty" not in purposes(fake)


@pytest.mark.parametrize(
    ("found", "error"),
    [
        ("used s3-data", "has data in s3-data, and a clone deletes no data"),
        ("mark s3-data s1 done\nused s3-data", "has data in s3-data, and a clone deletes no data"),
    ],
)
def test_a_clone_deletes_and_continues_nothing_of_another_deployment(
    found: str, error: str, workspace: Workspace, fake: FakeEngine
) -> None:
    fake.endings["backup-inspect"] = (0, ["server 18.1", "space / 1000 overlay", *found.splitlines(), "complete"])
    with pytest.raises(OperationError, match=error):
        restore(CLONE, workspace, Listener())
    add_container(fake, "db")
    fake.containers[f"{NAME}-db-1"]["NetworkSettings"] = {"Networks": {f"{NAME}_data": {}}}
    fake.endings["backup-state"] = (0, ["other"])
    with pytest.raises(OperationError, match="services are running: db: a clone needs its own machine or cluster"):
        restore(CLONE, workspace, Listener())
    assert not [purpose for purpose in purposes(fake) if purpose.startswith(("fill", "empty"))]


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (replace(CLONE, overwrite=True), "--as with --overwrite"),
        (replace(CLONE, replace_settings=True), "--as with --replace-settings"),
        (replace(CLONE, clone="no domain"), "--as no domain: DNS_TLD cannot be 'no domain'"),
        (replace(CLONE, clone="my.example.com"), "the backup is of my.example.com itself: restore it without --as"),
    ],
)
def test_what_cannot_be_a_clone_changes_nothing(request_: RestoreRequest, error: str, workspace: Workspace) -> None:
    with pytest.raises((OperationError, UsageError), match=error):
        restore(request_, workspace, Listener())
    assert workspace.project.env_file.read_text() == MINE and not workspace.project.pki.exists()


def test_a_clone_refuses_what_is_the_originals(
    workspace: Workspace, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, archive(**{".env": ENV + "USE_NFS=true\nNFS_HOST=nfs.example.net\n"}))
    with pytest.raises(OperationError, match="use the original's volumes: set NFS_HOST or NFS_PATH"):
        restore(CLONE, workspace, Listener())
    assert workspace.project.env_file.read_text() == MINE and not workspace.project.pki.exists()
    workspace.project.env_file.write_text(ENV)
    with pytest.raises(OperationError, match="has the settings of my.example.com: make the clone"):
        restore(CLONE, workspace, Listener())
    workspace.project.env_file.write_text(ENV.replace("my.example.com", "clone.example.org") + MINE)
    workspace.project.pki.mkdir()
    (workspace.project.pki / "ca-0.pem").write_text("a certificate")
    with pytest.raises(OperationError, match="is the CA of backup s1: a clone has its own"):
        restore(CLONE, workspace, Listener())


def test_what_still_names_the_original_is_told(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    override = "services: {api: {environment: {X: api.my.example.com}}}"
    offer(monkeypatch, archive(**{".env": ENV + "TUNNEL_TOKEN=abc\n", "docker-compose.override.yml": override}))
    listener = Listener()
    done = restore(replace(CLONE, only_settings=True), workspace, listener)
    assert done.files == ("pki", "docker-compose.override.yml", ".env")
    assert len(listener.warnings) == 2 and "TUNNEL_TOKEN of the backup is not used" in listener.warnings[0]
    assert "docker-compose.override.yml names my.example.com" in listener.warnings[1]
    assert "tunnel" not in read(workspace.project)["COMPOSE_PROFILES"]
