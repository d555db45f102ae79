"""backup: which jobs run where and in which order, with what; and that what was interrupted is no backup."""

import base64
import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from fake_engine import FakeEngine
from fake_swarm import RefusedError, Row, stack_service
from hearing import Listener

from openbalena.backup.retention import Keep
from openbalena.backup.sets import SavedPart
from openbalena.base.errors import OperationError, UsageError
from openbalena.base.names import BACKUP_SECRETS, LOCK_CONFIG
from openbalena.base.project import Project
from openbalena.operations import backup
from openbalena.operations.backup import BackupOptions
from openbalena.operations.backup_prune import prune_backups
from openbalena.operations.backup_verify import verify_backup
from openbalena.operations.workspace import Workspace
from openbalena.storage import record
from openbalena.swarm import settings_store

OPTIONS = BackupOptions(60.0)
END = "openbalena-job-end"
MARKS = {"ca": "a", "tokens": "b", "later": "c"}


def packed(text: str) -> str:
    return base64.b64encode(gzip.compress(text.encode())).decode()


def result(snapshot: str, size: int) -> str:
    return "result " + json.dumps({"snapshot_id": snapshot, "total_bytes_processed": size, "total_files_processed": 1})


@pytest.fixture
def workspace(project: Project, fake: FakeEngine) -> Workspace:
    """A deployment on two nodes, the store on the second, and jobs that succeed."""
    swarm = fake.swarm
    swarm.node("node2")
    swarm.create("services", stack_service("db", "openbalena", volumes=["db-data"]))
    store = "node.hostname == node2"
    swarm.create("services", stack_service("s3", "openbalena", volumes=["s3-data"], constraints=[store]))
    swarm.create("services", stack_service("redis", "openbalena", volumes=["redis-data"]))
    with fake.engine.client() as client:
        settings_store.save(client, "openbalena", b"the settings", MARKS, "me")
    answers = 'server 18.1\nmigrations ["00001"]\nrows api key 3\nrows device 50000\n'
    swarm.logs["openbalena-backup-database"] = ["created", f"answers {packed(answers)}", result("d1", 5), END]
    swarm.logs["openbalena-backup-s3-data"] = ["vanished 2", result("v1", 7), END]
    swarm.logs["openbalena-backup-settings"] = [result("s1", 11), END]
    swarm.logs["openbalena-backup-manifest"] = [result("m1", 13), END]
    swarm.fates["openbalena-backup-server"] = [[Row(0, "running")]]
    swarm.logs["openbalena-backup-server"] = ["checked"]
    return configured(project, BACKUP_REPOSITORY="s3:https://host/bucket")


def configured(project: Project, **values: str) -> Workspace:
    with project.env_file.open("a") as file:
        file.writelines(f"{name}={value}\n" for name, value in {"BACKUP_PASSWORD": "a-password", **values}.items())
    return Workspace(project, lab=False)


def jobs(fake: FakeEngine) -> list[dict[str, Any]]:
    """The jobs of the backup, in the order of their creation."""
    return [spec for spec in fake.swarm.created if spec["Name"].startswith("openbalena-backup-")]


def names(fake: FakeEngine) -> list[str]:
    return [spec["Name"].removeprefix("openbalena-backup-") for spec in jobs(fake)]


def container(spec: dict[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = spec["TaskTemplate"]["ContainerSpec"]
    return described


def test_the_database_is_first_and_the_manifest_last_each_where_its_data_is(
    workspace: Workspace, fake: FakeEngine
) -> None:
    listener = Listener()
    made = backup.create_backup(OPTIONS, workspace, listener)
    assert names(fake) == [
        "database-id-node1",
        "s3-data-id-node2",
        "settings-id-node1",
        "manifest-id-node1",
    ]
    assert list(made.parts) == ["database", "s3-data", "settings"] and made.bytes == 23
    assert made.parts["s3-data"].vanished == 2 and made.rows == {"api key": 3, "device": 50000}
    assert (made.database, made.migrations, made.mode) == ("18.1", ("00001",), "swarm")
    assert made.images["db"] == "a:1" and made.nodes["node1"] == {"openbalena.ingress": "true"}
    assert "the repository did not exist and was created" in listener.told
    assert listener.warnings == ["not saved: redis-data: device logs, and which devices were online"]


def test_the_manifest_names_every_part(workspace: Workspace, fake: FakeEngine) -> None:
    made = backup.create_backup(OPTIONS, workspace, Listener())
    script = container(jobs(fake)[-1])["Args"][-1]
    for tag in (f"set={made.set}", "part=manifest", "has=database:d1", "has=s3-data:v1", "has=settings:s1", "bytes=23"):
        assert f"--tag {tag}" in script


def test_volumes_are_only_read_and_settings_come_from_the_swarm(workspace: Workspace, fake: FakeEngine) -> None:
    backup.create_backup(OPTIONS, workspace, Listener())
    database, store, settings, _ = map(container, jobs(fake))
    assert [(mount["Source"], mount["ReadOnly"]) for mount in store["Mounts"]] == [("openbalena_s3-data", True)]
    with fake.engine.client() as client:
        found = settings_store.latest(client, "openbalena")
    assert found and {each["SecretName"] for each in settings["Secrets"]} == {BACKUP_SECRETS[0], found.name}
    assert {each["SecretName"] for each in database["Secrets"]} == {*BACKUP_SECRETS[:2]}


def test_nothing_secret_is_in_a_job_and_nothing_is_left(workspace: Workspace, fake: FakeEngine) -> None:
    backup.create_backup(OPTIONS, workspace, Listener())
    assert "a-password" not in json.dumps(fake.swarm.created)
    assert not {item["Spec"]["Name"] for item in fake.swarm.secrets.values()} & {*BACKUP_SECRETS}
    assert LOCK_CONFIG not in {item["Spec"]["Name"] for item in fake.swarm.configs.values()}
    assert len(fake.swarm.services) == 3


@pytest.mark.parametrize("failing", ["database", "s3-data", "settings", "manifest"])
def test_a_part_that_fails_ends_it_without_a_manifest(failing: str, workspace: Workspace, fake: FakeEngine) -> None:
    fake.swarm.fates[f"openbalena-backup-{failing}"] = [[Row(0, "failed", "task: non-zero exit (1)", 1)]]
    fake.swarm.logs[f"openbalena-backup-{failing}"] = ["no space left", END]
    with pytest.raises(
        OperationError,
        match=f"the (volume )?{failing}( on node2)? could not be saved, so there is no new backup: no space",
    ):
        backup.create_backup(OPTIONS, workspace, Listener())
    assert names(fake)[-1].startswith(failing)
    assert len(fake.swarm.services) == 3


def test_without_the_objects_there_is_no_backup(workspace: Workspace, fake: FakeEngine) -> None:
    """Such as after `docker service rm`: the record only says where the volume was."""
    (store,) = (key for key, each in fake.swarm.services.items() if each["Spec"]["Name"].endswith("_s3"))
    del fake.swarm.services[store]
    with pytest.raises(OperationError, match="volume s3-data, which has the objects, was not found"):
        backup.create_backup(OPTIONS, workspace, Listener())
    assert jobs(fake) == []


def test_a_volume_that_the_record_knows_and_no_service_has_any_more_is_no_backup(
    workspace: Workspace, fake: FakeEngine
) -> None:
    """The account of Let's Encrypt, after `docker service rm`."""
    with fake.engine.client() as client:
        places = {"cert-manager-data": record.VolumeLocation("id-node2", "node2")}
        record.write_registry(client, "openbalena", record.VolumeRegistry(places))
    made = backup.create_backup(OPTIONS, workspace, Listener())
    assert "cert-manager-data" not in made.parts, "without ACME it is not used any more"
    configured(workspace.project, ACME_EMAIL="me@example.com", CLOUDFLARE_API_TOKEN="a-token-of-it")
    with pytest.raises(OperationError, match="volume cert-manager-data, which has the account of Let's Encrypt, was "):
        backup.create_backup(OPTIONS, workspace, Listener())


def test_a_volume_that_its_node_has_lost_is_named_with_the_node(workspace: Workspace, fake: FakeEngine) -> None:
    """The engine makes a new volume for the job: only its script can see that."""
    fake.swarm.fates["openbalena-backup-s3-data"] = [[Row(0, "failed", "task: non-zero exit (1)", 1)]]
    fake.swarm.logs["openbalena-backup-s3-data"] = ["it is empty", END]
    with pytest.raises(OperationError, match="the volume s3-data on node2 could not be saved, so .*: it is empty"):
        backup.create_backup(OPTIONS, workspace, Listener())
    assert "it is empty, or was missing" in container(jobs(fake)[-1])["Args"][-1]


def test_a_missing_image_names_the_command_that_builds_it(workspace: Workspace, fake: FakeEngine) -> None:
    fake.swarm.fates["openbalena-backup-database"] = [[Row(0, "rejected", "No such image: openbalena/backup:c-1")]]
    with pytest.raises(OperationError, match=r"No such image: openbalena/backup:c-1: run \./open-balena\.sh swarm-bui"):
        backup.create_backup(OPTIONS, workspace, Listener())


def test_a_directory_is_served_by_its_node_in_a_network_of_its_own(workspace: Workspace, fake: FakeEngine) -> None:
    configured(workspace.project, BACKUP_REPOSITORY="/srv/backup", BACKUP_NODE="node2")
    backup.create_backup(OPTIONS, workspace, Listener())
    server, *others = jobs(fake)
    assert server["Name"] == "openbalena-backup-server-id-node2" and len(others) == 4
    (mount,) = container(server)["Mounts"]
    assert (mount["Type"], mount["Source"], mount.get("ReadOnly", False)) == ("bind", "/srv/backup", False)
    networks = [{each["Target"] for each in spec["TaskTemplate"]["Networks"]} for spec in jobs(fake)]
    assert set.intersection(*networks) == networks[0] and len(networks[0]) == 1
    assert "openbalena-backup-openbalena" not in {each["Name"] for each in fake.swarm.networks.values()}


def test_an_object_store_is_reached_over_a_network_that_is_not_internal(workspace: Workspace, fake: FakeEngine) -> None:
    backup.create_backup(OPTIONS, workspace, Listener())
    networks = [{each["Target"] for each in spec["TaskTemplate"]["Networks"]} for spec in jobs(fake)]
    assert set.intersection(*networks) == networks[-1] and len(networks[-1]) == 1
    assert "openbalena-backup-openbalena" not in {each["Name"] for each in fake.swarm.networks.values()}


def test_a_server_that_a_killed_run_left_is_not_taken_for_the_new_one(workspace: Workspace, fake: FakeEngine) -> None:
    """Its container answers to the service's name for another second, and knows another password."""
    configured(workspace.project, BACKUP_REPOSITORY="/srv/backup", BACKUP_NODE="node2")
    for _ in range(2):
        backup.create_backup(OPTIONS, workspace, Listener())
    first, second = (spec for spec in jobs(fake) if "server" in spec["Name"])
    (one,), (other,) = (spec["TaskTemplate"]["Networks"][0]["Aliases"] for spec in (first, second))
    assert one != other


def test_files_of_the_repository_that_were_damaged_are_told(workspace: Workspace, fake: FakeEngine) -> None:
    configured(workspace.project, BACKUP_REPOSITORY="/srv/backup", BACKUP_NODE="node2")
    fake.swarm.logs["openbalena-backup-server"] = ["moved index/0123", "checked"]
    listener = Listener()
    backup.create_backup(OPTIONS, workspace, listener)
    told = "warning: a damaged file of the repository was moved index/0123 to /srv/backup/damaged of node2"
    assert told in listener.told


def test_what_the_server_of_a_directory_failed_with_is_told(workspace: Workspace, fake: FakeEngine) -> None:
    configured(workspace.project, BACKUP_REPOSITORY="/srv/backup", BACKUP_NODE="node2")
    fake.swarm.fates["openbalena-backup-s3-data"] = [[Row(0, "failed", "task: non-zero exit (1)", 1)]]
    fake.swarm.logs["openbalena-backup-s3-data"] = ["unexpected HTTP response (500)", END]
    error = "2026/11/26 10:00:00 ERROR : data/0a/0a: Post request put error: no space left on device"
    fake.swarm.logs["openbalena-backup-server"] = [
        "checked",
        error,
        f"{error[:-23]}: already exists, append-only mode",
        "NOTICE: more",
    ]
    with pytest.raises(OperationError, match=r"\(500\); /srv/backup of node2: .* no space left on device"):
        backup.create_backup(OPTIONS, workspace, Listener())


def test_a_server_that_does_not_start_is_waited_for_aloud(workspace: Workspace, fake: FakeEngine) -> None:
    configured(workspace.project, BACKUP_REPOSITORY="/srv/backup", BACKUP_NODE="node2")
    fake.swarm.fates["openbalena-backup-server"] = [[Row(0, "preparing")]]
    listener = Listener()
    with pytest.raises(OperationError, match="/srv/backup of node2 cannot be served .* did not start within 60 s"):
        backup.create_backup(OPTIONS, workspace, listener)
    assert len([each for each in listener.told if each.startswith("waiting for /srv/backup of node2")]) >= 10


@pytest.mark.parametrize(("takes", "error"), [(45, ""), (75, "indexes were not checked within 60 s")])
def test_a_server_listens_only_once_it_has_checked_the_indexes(
    takes: float, error: str, workspace: Workspace, fake: FakeEngine
) -> None:
    """Clients give up after a minute, and the first of them comes only then."""
    configured(workspace.project, BACKUP_REPOSITORY="/srv/backup", BACKUP_NODE="node2")
    began = fake.swarm.clock.now
    fake.swarm.clock.stride = 5
    fake.swarm.logs["openbalena-backup-server"] = lambda _: ["checked"] * (fake.swarm.clock.now - began >= takes)
    listener = Listener()
    if error:
        with pytest.raises(OperationError, match=f"/srv/backup of node2 cannot be served to the nodes: its {error}"):
            backup.create_backup(OPTIONS, workspace, listener)
        assert names(fake) == ["server-id-node2"]
    else:
        backup.create_backup(OPTIONS, workspace, listener)
    assert any(each.startswith("checking the indexes in /srv/backup of node2: ") for each in listener.told)


def test_the_network_of_a_stack_with_a_longer_name_is_not_used(workspace: Workspace, fake: FakeEngine) -> None:
    """Left by a killed command."""
    fake.swarm.create_network({"Name": "openbalena-backup-openbalena2", "Driver": "overlay"})
    backup.create_backup(OPTIONS, workspace, Listener())
    assert "openbalena-backup-openbalena2" in {each["Name"] for each in fake.swarm.networks.values()}
    assert names(fake)[-1] == "manifest-id-node1"


def test_a_directory_that_does_not_exist_is_named(workspace: Workspace, fake: FakeEngine) -> None:
    configured(workspace.project, BACKUP_REPOSITORY="/srv/backup", BACKUP_NODE="node2")
    error = "invalid mount config: bind source path does not exist: /srv/backup"
    fake.swarm.fates["openbalena-backup-server"] = [[Row(0, "rejected", error)]]
    with pytest.raises(OperationError, match=f"/srv/backup of node2 cannot be served to the nodes: {error}"):
        backup.create_backup(OPTIONS, workspace, Listener())
    assert names(fake) == ["server-id-node2"]


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"BACKUP_REPOSITORY": "/srv/backup"}, "BACKUP_NODE is not set"),
        ({"BACKUP_REPOSITORY": "/srv/backup", "BACKUP_NODE": "node9"}, "there is no node node9"),
        ({"BACKUP_PASSWORD": ""}, "BACKUP_PASSWORD is not set"),
        ({"BACKUP_REPOSITORY": ""}, "BACKUP_REPOSITORY is not set"),
    ],
)
def test_settings_that_are_missing_are_named_before_anything_runs(
    values: dict[str, str], error: str, workspace: Workspace, fake: FakeEngine
) -> None:
    configured(workspace.project, **values)
    with pytest.raises(UsageError, match=error):
        backup.create_backup(OPTIONS, workspace, Listener())
    assert jobs(fake) == []


@pytest.mark.parametrize("command", [backup.create_backup, backup.list_backups])
def test_a_locked_swarm_is_not_taken_for_one_machine(
    command: Callable[[BackupOptions, Workspace, Listener], object], workspace: Workspace, fake: FakeEngine
) -> None:
    """As the engine describes it after a restart (Engine API, SwarmInfo)."""
    fake.says = {"LocalNodeState": "locked", "ControlAvailable": False, "NodeID": "", "RemoteManagers": None}
    with pytest.raises(OperationError, match="the swarm is locked: run `docker swarm unlock` there"):
        command(OPTIONS, workspace, Listener())
    assert jobs(fake) == [] and fake.made == []


def test_a_node_that_is_down_ends_it_before_anything_is_saved(workspace: Workspace, fake: FakeEngine) -> None:
    backup.create_backup(OPTIONS, workspace, Listener())
    fake.swarm.created.clear()
    fake.swarm.nodes["id-node2"]["Status"]["State"] = "down"
    with pytest.raises(OperationError, match="node node2 is down"):
        backup.create_backup(OPTIONS, workspace, Listener())
    assert jobs(fake) == []


def test_a_node_that_is_down_with_the_directory_ends_it_before_anything_is_saved(
    workspace: Workspace, fake: FakeEngine
) -> None:
    fake.swarm.node("node3")
    fake.swarm.nodes["id-node3"]["Status"]["State"] = "down"
    configured(workspace.project, BACKUP_REPOSITORY="/srv/backup", BACKUP_NODE="node3")
    with pytest.raises(OperationError, match=r"node node3 is down; .* start it"):
        backup.create_backup(OPTIONS, workspace, Listener())
    assert jobs(fake) == []


def listed(fake: FakeEngine, parts: Mapping[str, SavedPart] | None = None) -> None:
    """The repository has one backup."""
    has = {name: part.snapshot for name, part in (parts or {}).items()} or {"database": "d1"}
    tags = ["openbalena", "set=s1", "part=manifest", "mode=swarm", "stack=openbalena", "bytes=23"]
    tags += [f"has={name}:{snapshot}" for name, snapshot in has.items()]
    common = {"time": "2026-11-26T10:00:00Z", "hostname": "my.example.com"}
    snapshots = [{**common, "id": snapshot, "tags": ["set=s1"]} for snapshot in has.values()]
    snapshots.append({**common, "id": "m1", "tags": tags})
    fake.swarm.logs["openbalena-backup-list"] = [packed(json.dumps(snapshots)), END]


def test_backups_are_listed(workspace: Workspace, fake: FakeEngine) -> None:
    listed(fake)
    (found,) = backup.list_backups(OPTIONS, workspace, Listener()).backups
    assert (found.id, found.domain, found.bytes, found.complete) == ("s1", "my.example.com", 23, True)


def test_after_swarm_down_the_repository_is_still_the_directory_of_its_node(
    workspace: Workspace, fake: FakeEngine
) -> None:
    """This machine may have a directory of that name too, with other backups."""
    configured(workspace.project, BACKUP_REPOSITORY="/srv/backup", BACKUP_NODE="node2")
    for name in list(fake.swarm.services):
        fake.swarm.remove("services", name)
    listed(fake)
    assert [each.id for each in backup.list_backups(OPTIONS, workspace, Listener()).backups] == ["s1"]
    assert names(fake) == ["server-id-node2", "list-id-node1"]
    with pytest.raises(OperationError, match="db"):
        backup.create_backup(OPTIONS, workspace, Listener())


def test_a_backup_is_checked_with_its_manifest(workspace: Workspace, fake: FakeEngine) -> None:
    made = replace(backup.create_backup(OPTIONS, workspace, Listener()), set="s1", domain="other.example.com")
    listed(fake)
    fake.swarm.logs["openbalena-backup-check"] = [packed(made.text()), END]
    found = backup.check_backup("latest", OPTIONS, workspace, Listener())
    assert found.manifest.rows == made.rows
    tags, domain = found.plan.refusals
    assert "names other snapshots" in tags and "settings here are those of my.example.com" in domain
    with pytest.raises(OperationError, match=r"no backup begins with x \(newest: s1\)"):
        backup.check_backup("x", OPTIONS, workspace, Listener())


def tried(rows: int) -> list[str]:
    """What a trial restore prints."""
    answers = f'server 18.1\nmigrations ["00001"]\nrows api key 3\nrows device {rows}\n'
    return [f"answers {packed(answers)}", "files s3-data 1 7", "images 2 5", "absent 0", "complete", END]


def test_a_backup_is_restored_for_a_trial_where_nothing_of_it_is_kept(workspace: Workspace, fake: FakeEngine) -> None:
    made = replace(backup.create_backup(OPTIONS, workspace, Listener()), set="s1")
    listed(fake, made.parts)
    fake.swarm.logs["openbalena-backup-check"] = [packed(made.text()), END]
    fake.swarm.logs["openbalena-backup-verify"] = tried(50000)
    fake.swarm.created.clear()
    found = verify_backup("latest", 25, OPTIONS, workspace, Listener())
    assert found.problems == () and (found.trial.images, found.trial.digests) == (2, 5)
    assert names(fake) == ["list-id-node1", "check-id-node1", "verify-id-node1"]
    assert not container(jobs(fake)[-1]).get("Mounts")
    assert "--read-data-subset=25%" in container(jobs(fake)[-1])["Args"][-1]
    fake.swarm.logs["openbalena-backup-verify"] = tried(49999)
    (problem,) = verify_backup("s1", 25, OPTIONS, workspace, Listener()).problems
    assert "device has 49999 instead of 50000" in problem
    assert len(fake.swarm.services) == 3 and LOCK_CONFIG not in {
        item["Spec"]["Name"] for item in fake.swarm.configs.values()
    }


def test_a_backup_that_cannot_be_restored_is_an_error(workspace: Workspace, fake: FakeEngine) -> None:
    made = replace(backup.create_backup(OPTIONS, workspace, Listener()), set="s1")
    listed(fake, made.parts)
    fake.swarm.logs["openbalena-backup-check"] = [packed(made.text()), END]
    fake.swarm.fates["openbalena-backup-verify"] = [[Row(0, "failed", "task: non-zero exit (1)", 1)]]
    fake.swarm.logs["openbalena-backup-verify"] = ["Fatal: ciphertext verification failed", END]
    with pytest.raises(OperationError, match="backup s1 cannot be restored: Fatal: ciphertext verification failed"):
        verify_backup("latest", 25, OPTIONS, workspace, Listener())
    listed(fake)
    fake.swarm.created.clear()
    (problem,) = verify_backup("latest", 25, OPTIONS, workspace, Listener()).problems
    assert "names other snapshots" in problem and names(fake)[-1] == "check-id-node1"


def several(fake: FakeEngine) -> None:
    """Two backups, one that was interrupted, and one of another domain."""
    common = {"hostname": "my.example.com"}
    snapshots = [{"id": "d0", "time": "2026-11-20T09:00:00Z", **common, "tags": ["set=s0"]}]
    for number in (1, 2):
        time = f"2026-11-2{number}T10:00:00Z"
        tags = [f"set=s{number}", "part=manifest", f"has=database:d{number}"]
        snapshots.append({"id": f"d{number}", "time": time, **common, "tags": [f"set=s{number}"]})
        snapshots.append({"id": f"m{number}", "time": time, **common, "tags": tags})
    snapshots.append({**snapshots[0], "id": "x", "hostname": "other.example.com", "tags": ["set=x"]})
    fake.swarm.logs["openbalena-backup-list"] = [packed(json.dumps(snapshots)), END]
    fake.swarm.logs["openbalena-backup-prune"] = [END]


def test_backups_are_removed_after_asking_where_the_directory_is(workspace: Workspace, fake: FakeEngine) -> None:
    configured(workspace.project, BACKUP_REPOSITORY="/srv/backup", BACKUP_NODE="node2")
    several(fake)
    listener = Listener()
    plan = prune_backups(Keep(daily=1), OPTIONS, workspace, listener)
    assert [each.id for each in plan.removed] == ["s1", "s0"] and [each.id for each in plan.kept] == ["s2"]
    assert listener.questions == [
        "Remove 2 backups, and keep 1: s1 (older than those to keep), s0 (interrupted)?",
    ]
    assert names(fake) == ["list-id-node2", "list-id-node2", "prune-id-node2"]
    for spec in jobs(fake):
        (mount,) = container(spec)["Mounts"]
        assert (mount["Source"], mount.get("ReadOnly", False)) == ("/srv/backup", False)
    script = container(jobs(fake)[-1])["Args"][-1]
    assert "forget m1\nforget d1 d0\n" in script
    assert len(fake.swarm.services) == 3


def test_nothing_is_removed_without_agreement_or_a_rule(workspace: Workspace, fake: FakeEngine) -> None:
    several(fake)
    with pytest.raises(OperationError, match="no backup was removed"):
        prune_backups(Keep(last=1), OPTIONS, workspace, Listener(agrees=False))
    listener = Listener()
    assert len(prune_backups(Keep(last=1), OPTIONS, workspace, listener, dry_run=True).removed) == 2
    assert {*names(fake)} == {"list-id-node1"} and listener.questions == []
    with pytest.raises(UsageError, match="add --keep-last, --keep-daily"):
        prune_backups(Keep(), OPTIONS, workspace, Listener())


def test_a_repository_that_is_in_use_is_told(workspace: Workspace, fake: FakeEngine) -> None:
    several(fake)
    fake.swarm.fates["openbalena-backup-prune"] = [[Row(0, "failed", "task: non-zero exit (11)", 11)]]
    fake.swarm.logs["openbalena-backup-prune"] = ["repository is already locked by PID 7 on a1b2c3", END]
    with pytest.raises(OperationError, match="expires after 30 minutes.: repository is already locked by PID 7"):
        prune_backups(Keep(last=1), OPTIONS, workspace, Listener())


def test_a_repository_without_backups_is_told(workspace: Workspace, fake: FakeEngine) -> None:
    fake.swarm.fates["openbalena-backup-list"] = [[Row(0, "failed", "task: non-zero exit (3)", 3)]]
    fake.swarm.logs["openbalena-backup-list"] = [END]
    with pytest.raises(OperationError, match="there are no backups in s3:https://host/bucket yet"):
        backup.list_backups(OPTIONS, workspace, Listener())


def test_without_settings_in_the_swarm_nothing_is_saved(workspace: Workspace, fake: FakeEngine) -> None:
    with fake.engine.client() as client:
        settings_store.forget(client, "openbalena")
    with pytest.raises(OperationError, match="the swarm has no settings of this stack"):
        backup.create_backup(OPTIONS, workspace, Listener())
    assert jobs(fake) == []


def test_an_engine_that_fails_leaves_nothing(workspace: Workspace, fake: FakeEngine) -> None:
    fake.swarm.refusals.append(("POST", "/services/create", RefusedError(500, "no more")))
    with pytest.raises(OperationError, match="no more"):
        backup.create_backup(OPTIONS, workspace, Listener())
    assert not {item["Spec"]["Name"] for item in fake.swarm.secrets.values()} & {*BACKUP_SECRETS}
