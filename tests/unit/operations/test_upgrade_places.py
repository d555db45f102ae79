"""What upgrade reads of a stack and of a machine, and how it deploys to them."""

import json
from pathlib import Path
from typing import Any

import postgres
import pytest
from compose_program import NAME, ComposeProgram, add_container, workspace_of
from fake_engine import FakeEngine
from fake_swarm import Row, stack_service
from hearing import Listener, workspace_on

from openbalena.base.errors import OperationError
from openbalena.machine import database
from openbalena.operations import upgrade_places as places
from openbalena.operations.build_images import BuildOptions, BuildResult
from openbalena.operations.deploy import DeployOptions
from openbalena.operations.start_machine import StartOptions, StartResult
from openbalena.operations.upgrade import UpgradeOptions, check_upgrade
from openbalena.operations.upgrade_places import DatabaseFacts, Machine, Stack, running_place
from openbalena.operations.workspace import Workspace
from openbalena.settings import read
from openbalena.swarm import releases
from openbalena.swarm.releases import Release

FACTS = json.dumps({"postgres": 17, "executed": '["0001", "00114"]'})
API = "balena/open-balena-api:48.1.6@sha256:0a"


@pytest.fixture
def stack(fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A manager, whose database answers."""
    made = workspace_on(fake, tmp_path, monkeypatch)
    fake.swarm.node("node1", "manager")
    fake.swarm.create("services", stack_service("db", Image="balena/open-balena-db:6.0.25"))
    fake.swarm.create("services", stack_service("api", Image=API))
    fake.swarm.logs["openbalena-database"] = [FACTS, "openbalena-job-end"]
    return made


@pytest.fixture
def machine(fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Workspace, ComposeProgram]:
    """An engine in no swarm, with one service."""
    made = workspace_of("services: {db: {image: a}}\n", tmp_path, fake, monkeypatch)
    add_container(fake, "db")
    return made


def test_a_stack_is_read_under_the_lock(stack: Workspace, fake: FakeEngine) -> None:
    with running_place(60.0, "", stack, Listener()) as place:
        assert isinstance(place, Stack)
        assert place.images() == {"db": "balena/open-balena-db:6.0.25", "api": API}
        assert place.database() == DatabaseFacts(17, ("0001", "00114"))
        assert fake.swarm.created[-1]["Name"] == "openbalena-database-id-node1"
        asked = fake.swarm.asked
        assert asked.index("POST /configs/create") < asked.index("POST /services/create"), "the lock, then the job"
        with fake.engine.client() as client:
            assert client.configs.list() == [], "the lock is released"


def test_a_check_of_a_stack(stack: Workspace) -> None:
    listener = Listener()
    plan = check_upgrade(UpgradeOptions("4.1.894", 60.0), stack, listener)
    assert [(each.service, each.before) for each in plan.changes] == [
        ("db", "balena/open-balena-db:6.0.25"),
        ("api", API),
    ]
    assert plan.settings["API_IMAGE"] == "balena/open-balena-api:48.4.0" and plan.replaced["API_IMAGE"] == API
    assert [text.partition(":")[0] for text in plan.refusals] == ["db"] and listener.warnings == []


def test_a_check_of_a_stack_whose_database_does_not_answer(stack: Workspace, fake: FakeEngine) -> None:
    fake.swarm.logs["openbalena-database"] = ["no", "openbalena-job-end"]
    listener = Listener()
    options = UpgradeOptions("4.1.894", 60.0, keep_database=True)
    plan = check_upgrade(options, stack, listener)
    assert not plan.refusals and plan.settings["DB_IMAGE"] == "balena/open-balena-db:6.0.25"
    assert plan.findings[-1].startswith("api: which migrations the database has is not known")
    assert [text.partition(":")[0] for text in listener.warnings] == [
        "cannot read the database's version and migrations"
    ]  # fmt: skip


def test_a_stack_whose_database_refuses(stack: Workspace, fake: FakeEngine) -> None:
    fake.swarm.logs["openbalena-database"] = ["refused", "openbalena-job-end"]
    fake.swarm.fates["openbalena-database"] = [[Row(0, "failed", "task: non-zero exit (1)", 1)]]
    with running_place(60.0, "", stack, Listener()) as place, pytest.raises(OperationError, match="db: refused"):
        place.database()


@pytest.mark.parametrize("answer", ["", "no", "[]", '{"postgres": 17}', '{"postgres": 17, "executed": null}'])
def test_another_answer_is_an_error(stack: Workspace, fake: FakeEngine, answer: str) -> None:
    fake.swarm.logs["openbalena-database"] = [answer, "openbalena-job-end"]
    wrong = pytest.raises(OperationError, match="the database's version and migrations cannot be read")
    with running_place(60.0, "", stack, Listener()) as place, wrong:
        place.database()


def test_a_failed_release_and_another_image_are_seen(stack: Workspace, fake: FakeEngine) -> None:
    with running_place(60.0, "", stack, Listener()) as place, fake.engine.client() as client:
        first = place.version()
        assert place.version() == first
        document: dict[str, Any] = {"services": {}}
        releases.begin(client, "ob", Release(1, "ann@desk", "2026-11-26T10:00:00+00:00", "swarm-up", document=document))
        second = place.version()
        fake.swarm.create("services", stack_service("s3"))
        assert first != second != place.version()


def test_a_stack_is_built_and_deployed(stack: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[object] = []
    failures: tuple[str, ...] = ()

    def build(options: BuildOptions, *_: object) -> BuildResult:
        done.append(options)
        return BuildResult((), pushed=False, failures=failures)

    monkeypatch.setattr(places, "build_images", build)
    monkeypatch.setattr(places, "deploy", lambda options, *_: done.append(options))
    with running_place(60.0, "lock1", stack, Listener()) as place:
        place.start("upgrade to 1")
        assert done == [BuildOptions(), DeployOptions(60.0, take_over="lock1", message="upgrade to 1")]
        failures = ("node2 lacks haproxy",)
        with pytest.raises(OperationError, match="not every node has its images:\n  node2 lacks haproxy"):
            place.start("upgrade to 1")
        assert len(done) == 3


def test_a_machine(
    machine: tuple[Workspace, ComposeProgram], fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def query(client: Any, container: Any, statements: str) -> str:
        asked.append(statements)
        return FACTS

    monkeypatch.setattr(database, "query", query)
    with running_place(60.0, "", machine[0], Listener()) as place:
        assert isinstance(place, Machine)
        assert place.images() == {"db": "image"}
        assert place.database() == DatabaseFacts(17, ("0001", "00114")) and len(asked) == 1
        before = place.version()
        assert place.version() == before
        add_container(fake, "api")
        assert place.version() != before
        fake.containers[f"{NAME}-db-1"]["State"]["Status"] = "exited"
        with pytest.raises(OperationError, match="db does not run on this machine"):
            place.database()


@pytest.mark.parametrize("error", ["", "no certificate"])
def test_a_machine_is_started(
    machine: tuple[Workspace, ComposeProgram], error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The services run without a certificate by ACME too."""
    done: list[StartOptions] = []

    def start(options: StartOptions, workspace: Workspace, _: object) -> StartResult:
        done.append(options)
        return StartResult(NAME, read(workspace.project), certificate_error=error)

    monkeypatch.setattr(places, "start_machine", start)
    listener = Listener()
    with running_place(60.0, "", machine[0], listener) as place:
        place.start("upgrade to 1")
    assert done == [StartOptions(60.0)] and listener.warnings == [error] * bool(error)


def test_the_query_is_one_that_postgresql_answers() -> None:
    with postgres.server() as server:
        server.sql('CREATE TABLE migration ("model name" text, "executed migrations" jsonb)')
        server.sql("""INSERT INTO migration VALUES ('resin', '["0001", "00114"]'), ('tasks', '[]')""")
        facts = places._facts(server.sql(places._FACTS))
        assert facts.executed == ("0001", "00114") and facts.postgres and facts.postgres >= 13
        server.sql('ALTER TABLE migration ALTER COLUMN "executed migrations" TYPE text')
        assert places._facts(server.sql(f"{places._FACTS};")) == facts
