"""restore in a cluster: what is checked before anything changes, and which jobs then fill what, where."""

import base64
import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from backup_facts import MANIFEST, PARTS, saved
from fake_engine import FakeEngine
from fake_swarm import Row, stack_service
from hearing import Listener

from openbalena.backup.manifest import Manifest
from openbalena.base.errors import OperationError
from openbalena.base.names import BACKUP_SECRETS, LOCK_CONFIG, data_label
from openbalena.base.project import Project
from openbalena.operations import deployment as deployments
from openbalena.operations import restore as restores
from openbalena.operations.deploy import DeployOptions
from openbalena.operations.restore import RestoreRequest, restore
from openbalena.operations.workspace import Workspace
from openbalena.storage import record
from openbalena.storage.record import VolumeLocation
from openbalena.swarm.preflight import Finding

END = "openbalena-job-end"
REQUEST = RestoreRequest("latest", 60.0)
JOBS = "openbalena-backup-"


def packed(text: str) -> str:
    return base64.b64encode(gzip.compress(text.encode())).decode()


class Backup:
    """One backup in the repository, of the deployment of `project`, and what the nodes say."""

    def __init__(self, fake: FakeEngine, project: Project) -> None:
        self.fake = fake
        self.authority = (project.pki / "ca-0.pem").read_text()
        self.manifest = replace(MANIFEST, parts=saved(PARTS), images={})

    def offer(self, manifest: Manifest | None = None) -> None:
        """Let the repository have it."""
        made, logs = manifest or self.manifest, self.fake.swarm.logs
        tags = ["openbalena", f"set={made.set}", "part=manifest", "mode=swarm", "stack=ob", "bytes=12"]
        tags += [f"has={name}:{part.snapshot}" for name, part in made.parts.items()]
        others = [{"id": part.snapshot, "time": made.begun, "hostname": "", "tags": []} for part in made.parts.values()]
        own = {"id": "m1", "time": made.finished, "hostname": made.domain, "tags": tags}
        logs[f"{JOBS}list"] = [packed(json.dumps([*others, own])), END]
        logs[f"{JOBS}check"] = [packed(made.text()), END]
        logs[f"{JOBS}authority"] = [*self.authority.splitlines(), END]
        for node in ("node1", "node2"):
            self.inspected(node)
            logs[f"{JOBS}empty-id-{node}"] = logs[f"{JOBS}forget-id-{node}"] = [END]
        logs[f"{JOBS}fill-s3-data"] = ["files 1", END]
        rows = 'server 18.1\nmigrations ["00001"]\nrows device 5\n'
        logs[f"{JOBS}fill-database"] = [f"answers {packed(rows)}", END]

    def inspected(self, node: str, *lines: str) -> None:
        """What a node's volumes have."""
        space = [
            "server 18.1",
            "space / 1000000 overlay",
            "space db-data 1000000 /dev/a",
            "space s3-data 1000000 /dev/a",
        ]
        self.fake.swarm.logs[f"{JOBS}inspect-id-{node}"] = [*space, *lines, "complete", END]

    @property
    def jobs(self) -> list[str]:
        """The jobs so far, in order."""
        names = [spec["Name"] for spec in self.fake.swarm.created if spec["Name"].startswith(JOBS)]
        return [name.removeprefix(JOBS) for name in names]


@pytest.fixture
def backup(project: Project, fake: FakeEngine) -> Backup:
    """A backup, and two nodes with the labels of the stack's volumes: the store goes to the second."""
    labels = fake.swarm.nodes["id-node1"]["Spec"]["Labels"]
    labels |= {data_label(volume): "true" for volume in ("db-data", "redis-data")}
    fake.swarm.node("node2", **{data_label("s3-data"): "true"})
    with project.env_file.open("a") as file:
        file.write("BACKUP_REPOSITORY=s3:https://host/bucket\nBACKUP_PASSWORD=a-password\nBACKUP_IMAGE=backup:mine\n")
    made = Backup(fake, project)
    made.offer()
    return made


@pytest.fixture
def workspace(project: Project, backup: Backup, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A deploy that begins with the restore's steps, when its database runs."""

    def deploy(options: DeployOptions, workspace: Workspace, reporter: Listener) -> Any:
        made = deployments.load(workspace.project, lab=False)
        with backup.fake.engine.client() as client:
            checks = SimpleNamespace(engine=backup.fake.engine, client=client, deployment=made, nfs_volumes=())
            assert options.restoring is not None
            with options.restoring(checks) as fill:  # type: ignore[arg-type]
                assert "fill-database-id-node1" not in backup.jobs
                if not any(each["Spec"]["Name"].endswith("_db") for each in backup.fake.swarm.services.values()):
                    backup.fake.swarm.create("services", stack_service("db", "openbalena", volumes=["db-data"]))
                fill()
                left = {item["Spec"]["Name"] for item in backup.fake.swarm.secrets.values()}
                assert not left & {*BACKUP_SECRETS}, "the repository is not reached while services start"
        return SimpleNamespace(settings=made.settings)

    monkeypatch.setattr(restores, "deploy", deploy)
    monkeypatch.setattr(restores, "public_addresses", lambda *_: ())
    return Workspace(project, lab=False)


EXAMINED = ["list-id-node1", "check-id-node1", "authority-id-node1", "inspect-id-node1", "inspect-id-node2"]
FILLED = ["fill-s3-data-id-node2", "fill-database-id-node1"]


def test_volumes_are_filled_where_a_deploy_would_place_them_and_then_the_database(
    workspace: Workspace, backup: Backup
) -> None:
    listener = Listener()
    done = restore(REQUEST, workspace, listener)
    assert backup.jobs == [*EXAMINED, *EXAMINED, *FILLED], "everything is checked before the deploy begins, and again"
    assert (done.rows, done.files, listener.questions) == (5, (), [])
    store = next(spec for spec in backup.fake.swarm.created if "fill-s3-data" in spec["Name"])
    (mount,) = store["TaskTemplate"]["ContainerSpec"]["Mounts"]
    assert (mount["Source"], mount.get("ReadOnly", False)) == ("openbalena_s3-data", False)
    assert "restic restore --quiet --target /openbalena-volumes/s3-data v1:" in str(store)
    assert any("changed after 2026-11-26T10:00:00+00:00 is lost" in each for each in listener.warnings)


@pytest.mark.parametrize(
    ("addresses", "wanted", "failing"),
    [((), True, None), (("192.0.2.1",), True, ("vpn",)), (("192.0.2.1",), False, None)],
)
def test_it_is_verified_where_the_domain_leads_somewhere(
    addresses: tuple[str, ...],
    wanted: bool,
    failing: tuple[str, ...] | None,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = [SimpleNamespace(check=SimpleNamespace(name="vpn"))]
    monkeypatch.setattr(restores, "public_addresses", lambda *_: addresses)
    monkeypatch.setattr(restores, "failing_checks", lambda *_: found)
    listener = Listener()
    assert restore(replace(REQUEST, verify=wanted), workspace, listener).failing == failing
    unknown = [each for each in listener.warnings if "not verified, since api.my.example.com has no address" in each]
    assert len(unknown) == int(wanted and not addresses)


def test_nothing_secret_is_in_a_job_and_nothing_is_left(workspace: Workspace, backup: Backup) -> None:
    restore(REQUEST, workspace, Listener())
    swarm = backup.fake.swarm
    assert "a-password" not in json.dumps(swarm.created)
    assert not {item["Spec"]["Name"] for item in swarm.secrets.values()} & {*BACKUP_SECRETS}
    assert [each["Spec"]["Name"] for each in swarm.services.values()] == ["openbalena_db"]


def test_a_clone_in_a_cluster_is_filled_and_lists_the_devices(workspace: Workspace, backup: Backup) -> None:
    """Its settings were made before, with `--settings`; the newest backup in the repository is the original's."""
    backup.authority = "the original's certificate"
    backup.offer(replace(backup.manifest, domain="original.example.com"))
    device = '{"uuid": "d1", "name": "first", "fleet": "admin/fleet", "seen": ""}'
    backup.fake.swarm.logs[f"{JOBS}devices"] = [f"answers {packed(device)}", END]
    listener = Listener()
    done = restore(replace(REQUEST, clone="my.example.com"), workspace, listener)
    assert backup.jobs == [*EXAMINED, *EXAMINED, *FILLED, "devices-id-node1"]
    assert [each.uuid for each in done.unjoined] == ["d1"] and done.files == ()
    filled = next(str(spec) for spec in backup.fake.swarm.created if "fill-database" in spec["Name"])
    assert "registry2.original.example.com/" in filled and "s1 as my.example.com" in filled
    assert any(each.startswith("the clone is original.example.com as of") for each in listener.warnings)


def service(fake: FakeEngine, name: str, *volumes: str) -> None:
    fake.swarm.create("services", stack_service(name, "openbalena", volumes=list(volumes)))


def older(backup: Backup) -> None:
    backup.authority = "another certificate"
    backup.offer()


@pytest.mark.parametrize(
    ("prepare", "error"),
    [
        (lambda b: b.inspected("node2", "used s3-data"), "the deployment has data in s3-data, which would be lost"),
        (lambda b: b.inspected("node2", "mark s3-data s0 done", "used s3-data"), "has data in s3-data"),
        (lambda b: service(b.fake, "api"), "services are running: api: remove them first"),
        (lambda b: b.offer(replace(b.manifest, domain="other.example.com")), "the backup is of other.example.com"),
        (lambda b: b.offer(replace(b.manifest, database="19.1")), "the server here is 18"),
        (older, "ca-0.pem is not the CA of backup s1"),
        (lambda b: b.inspected("node1", "space db-data 0 /dev/a"), r"node1 \(/dev/a\) has 0 bytes free, but 4"),
        (lambda b: b.fake.swarm.nodes["id-node2"]["Spec"]["Labels"].clear(), "0 nodes have the label .*s3-data"),
        (lambda b: b.fake.swarm.nodes["id-node2"]["Status"].update(State="down"), "node node2 is down"),
    ],
)
def test_what_forbids_it_is_told_before_anything_changes(
    prepare: Callable[[Backup], Any], error: str, workspace: Workspace, backup: Backup
) -> None:
    prepare(backup)
    with pytest.raises(OperationError, match=error):
        restore(REQUEST, workspace, Listener())
    assert not [name for name in backup.jobs if name.startswith(("fill", "empty"))]


@pytest.mark.parametrize("agrees", [True, False])
def test_data_is_deleted_after_a_question_that_names_it(agrees: bool, workspace: Workspace, backup: Backup) -> None:
    backup.inspected("node1", "used db-data", "used redis-data")
    backup.inspected("node2", "used s3-data")
    with backup.fake.engine.client() as client:
        known = record.VolumeRegistry({"db-data": VolumeLocation("id-node1", "node1")})
        record.write_registry(client, "openbalena", known)
        listener = Listener(agrees=agrees)
        request = replace(REQUEST, overwrite=True)
        if agrees:
            restore(request, workspace, listener)
            assert backup.jobs[-4:] == ["empty-id-node1", "empty-id-node2", *FILLED]
            assert not record.read_registry(client, "openbalena").places
        else:
            with pytest.raises(OperationError, match="nothing was restored"):
                restore(request, workspace, listener)
            assert backup.jobs == EXAMINED
    assert listener.questions == [
        "Delete all data in db-data on node1, s3-data on node2, redis-data on node1, and restore backup s1 there?"
    ]


def test_data_that_appears_after_the_question_is_not_deleted(workspace: Workspace, backup: Backup) -> None:
    backup.inspected("node2", "used s3-data")

    class Slow(Listener):
        def confirm(self, question: str) -> bool:
            assert LOCK_CONFIG not in {item["Spec"]["Name"] for item in backup.fake.swarm.configs.values()}
            backup.inspected("node1", "used db-data")
            return super().confirm(question)

    with pytest.raises(OperationError, match="meanwhile there is data in db-data on node1: run the command again"):
        restore(replace(REQUEST, overwrite=True), workspace, Slow())
    assert not [name for name in backup.jobs if name.startswith(("fill", "empty"))]


def test_data_of_a_compose_deployment_is_found_before_volumes_are_created(
    workspace: Workspace, backup: Backup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restores, "other_mode_findings", lambda *args: [Finding("data of a Compose deployment")])
    with pytest.raises(OperationError, match="nothing was restored:\n  data of a Compose deployment"):
        restore(REQUEST, workspace, Listener())
    assert backup.jobs == []


def test_what_a_former_restore_filled_is_deleted_with_the_rest(workspace: Workspace, backup: Backup) -> None:
    """Since it ran, objects may have been deleted in the store."""
    backup.inspected("node1", "used db-data")
    backup.inspected("node2", "mark s3-data s1 done", "used s3-data")
    restore(replace(REQUEST, overwrite=True), workspace, Listener())
    assert backup.jobs[-5:] == ["forget-id-node2", "empty-id-node1", "empty-id-node2", *FILLED], (
        "killed while it deletes, it must not find a volume that counts as restored"
    )


def test_an_interrupted_one_continues_while_its_database_runs(workspace: Workspace, backup: Backup) -> None:
    service(backup.fake, "db", "db-data")
    backup.inspected("node1", "used db-data")
    backup.inspected("node2", "mark s3-data s1", "used s3-data")
    backup.fake.swarm.logs[f"{JOBS}state"] = ["empty", END]
    restore(REQUEST, workspace, Listener())
    assert backup.jobs[-2:] == FILLED and not [name for name in backup.jobs if name.startswith("empty")]


def test_one_that_was_interrupted_after_the_database_only_deploys(workspace: Workspace, backup: Backup) -> None:
    for name in ("db", "api"):
        service(backup.fake, name, *(["db-data"] if name == "db" else []))
    backup.inspected("node1", "used db-data", "used redis-data")
    backup.inspected("node2", "mark s3-data s1 done", "used s3-data")
    backup.fake.swarm.logs[f"{JOBS}state"] = ["restored", END]
    backup.fake.swarm.logs[f"{JOBS}fill-s3-data"] = ["restored before", END]
    backup.fake.swarm.logs[f"{JOBS}fill-database"] = ["restored before", END]
    listener = Listener()
    assert restore(replace(REQUEST, overwrite=True), workspace, listener).rows is None
    kept = [each for each in listener.warnings if "what was changed since is kept" in each]
    assert len(kept) == 1, "nothing was deleted, and nothing restored"


def test_a_running_database_with_other_data_is_refused(workspace: Workspace, backup: Backup) -> None:
    service(backup.fake, "db", "db-data")
    logs, listener = backup.fake.swarm.logs, Listener()
    logs[f"{JOBS}state"] = ["other", END]
    newer = '{"devices": 1, "releases": 2, "API keys": 0, "users": 0, "uuids": ["d9"]}'
    logs[f"{JOBS}newer"] = [f"answers {packed(newer)}", END]
    with pytest.raises(OperationError, match="services are running: db"):
        restore(replace(REQUEST, overwrite=True), workspace, listener)
    assert len(listener.warnings) == 1 and "what backup s1 lacks: devices 1 (d9), releases 2." in listener.warnings[0]


def test_without_an_answer_nothing_is_told_of_what_is_newer(workspace: Workspace, backup: Backup) -> None:
    """A database that is not openBalena's, or not yet."""
    service(backup.fake, "db", "db-data")
    logs, listener = backup.fake.swarm.logs, Listener()
    logs[f"{JOBS}state"] = ["other", END]
    logs[f"{JOBS}newer"] = ['ERROR: relation "device" does not exist', END]
    backup.fake.swarm.fates[f"{JOBS}newer"] = [[Row(0, "failed", "task: non-zero exit (1)", 1)]]
    with pytest.raises(OperationError, match="services are running: db"):
        restore(REQUEST, workspace, listener)
    assert listener.warnings == []


def test_a_part_that_fails_is_named(workspace: Workspace, backup: Backup) -> None:
    backup.fake.swarm.fates[f"{JOBS}fill-s3-data"] = [[Row(0, "failed", "task: non-zero exit (1)", 1)]]
    backup.fake.swarm.logs[f"{JOBS}fill-s3-data"] = ["no space left", END]
    with pytest.raises(OperationError, match="restoring s3-data on node2 failed: no space left"):
        restore(REQUEST, workspace, Listener())
    backup.fake.swarm.fates.clear()
    for lines in (["files 0"], []):
        backup.fake.swarm.logs[f"{JOBS}fill-s3-data"] = [*lines, END]
        with pytest.raises(OperationError, match="s3-data on node2 has 0 files, but the backup has 1"):
            restore(REQUEST, workspace, Listener())


def test_an_inspection_that_was_cut_off_does_not_count_as_empty_volumes(workspace: Workspace, backup: Backup) -> None:
    """The end of a task's log can come too late."""
    backup.fake.swarm.logs[f"{JOBS}inspect-id-node2"] = ["server 18.1", "space / 1000000 overlay", END]
    with pytest.raises(OperationError, match="the output of the task is not complete"):
        restore(REQUEST, workspace, Listener())
    assert not [name for name in backup.jobs if name.startswith(("fill", "empty"))]


def test_a_backup_of_one_machine_is_restored_after_a_question(workspace: Workspace, backup: Backup) -> None:
    backup.offer(replace(backup.manifest, mode="compose"))
    listener = Listener(agrees=False)
    with pytest.raises(OperationError, match="nothing was restored"):
        restore(REQUEST, workspace, listener)
    assert listener.questions == ["Backup s1 is of a deployment on one machine. Restore it onto this cluster?"]
