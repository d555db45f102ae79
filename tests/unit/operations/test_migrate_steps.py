"""migrate: the order of its steps, what a failure or a kill at each of them leaves, and which deployment runs then."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from compose_program import NAME, workspace_of
from fake_engine import FakeEngine
from hearing import Listener

from openbalena.base.errors import OperationError, UsageError
from openbalena.base.names import LOCK_CONFIG
from openbalena.machine import database
from openbalena.machine.migration import Migration, Mode, read_migration
from openbalena.machine.volume_copy import Copier, VolumeCopy
from openbalena.operations import migrate as migrates
from openbalena.operations import verify as verification
from openbalena.operations.migrate import MigrateOptions, migrate, undo_migration
from openbalena.operations.migration_plan import MigrationPlan, Planner
from openbalena.operations.migration_sides import Side, read_sides
from openbalena.operations.workspace import Workspace

RECORD = f"{NAME}_resin-data"
COPY = VolumeCopy("db-data", "from", "to")
OPTIONS = {to: MigrateOptions(to, 60.0) for to in ("swarm", "compose")}


class Killed(BaseException):
    """The end of a process that nothing can catch."""


@dataclass
class World:
    """What runs, what was done, and at which step something goes wrong."""

    runs: set[str] = field(default_factory=lambda: {"compose"})
    steps: list[str] = field(default_factory=list)
    failing: str = ""
    error: BaseException = field(default_factory=lambda: OperationError("not now"))
    checks: set[str] = field(default_factory=set)
    rows: list[int] = field(default_factory=lambda: [3])
    unlocked: set[str] = field(default_factory=set)
    locked: Callable[[], bool] = lambda: False

    def do(self, step: str) -> None:
        """One step, or the error that it was to meet, once."""
        if self.failing == step:
            self.failing = ""
            raise self.error
        self.steps.append(step)
        if not self.locked():
            self.unlocked.add(step)


@dataclass
class FakeSide:
    """A deployment that is started and stopped without Docker."""

    world: World
    mode: Mode
    standalone: Any = field(default_factory=lambda: SimpleNamespace(name=NAME))

    @property
    def title(self) -> str:
        return f"the {self.mode} deployment"

    def volume(self, name: str) -> str:
        return f"{NAME}_{name}"

    def labels(self, name: str) -> dict[str, str]:
        return {"of": self.mode}

    def kept(self, client: Any) -> list[str]:
        return [f"{self.mode}_db-data"]

    def image(self, client: Any) -> str:
        return "tools" if self.mode in self.world.runs else ""

    def database(self, client: Any) -> str:
        return self.mode if self.mode in self.world.runs else ""

    def stop(self) -> None:
        self.world.do(f"stop {self.mode}")
        self.world.runs.discard(self.mode)

    def start(self) -> None:
        assert self.world.runs <= {self.mode}, "never both"
        self.world.do(f"start {self.mode}")
        self.world.runs.add(self.mode)

    def resume(self) -> None:
        self.world.steps.append(f"resume {self.mode}")
        assert self.world.runs <= {self.mode}, "never both"
        self.world.runs.add(self.mode)

    def remove(self) -> None:
        self.world.do(f"remove {self.mode}")
        self.world.runs.discard(self.mode)


@dataclass
class FakeSides:
    """Both."""

    compose: FakeSide
    swarm: Any

    def of(self, mode: Mode) -> Side:
        return self.swarm if mode == "swarm" else self.compose

    def origin(self, to: Mode) -> Side:
        return self.of("compose" if to == "swarm" else "swarm")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def workspace(world: World, tmp_path: Path, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A manager; the copies, the checks and the two deployments only leave their names."""
    made, _ = workspace_of("services: {redis: {image: x}}\n", tmp_path, fake, monkeypatch)
    fake.swarm.node("node1", "manager")
    sides = FakeSides(FakeSide(world, "compose"), FakeSide(world, "swarm"))
    sides.swarm.stack = "ob"
    world.locked = lambda: LOCK_CONFIG in {item["Spec"]["Name"] for item in fake.swarm.configs.values()}

    def plan(self: Planner, to: Mode, known: Migration | None) -> MigrationPlan:
        world.do("plan")
        running = bool(sides.origin(to).image(None))
        assert running or known, "an interrupted one has a record"
        return MigrationPlan((COPY,), {"db-data": 2048}, (), (), "tools", running)

    def copy(self: Copier, volume: VolumeCopy, meanwhile: Callable[[], None], *, last: bool) -> int:
        assert not last or not world.runs, "nothing writes any more"
        world.do("last copy" if last else "copy")
        return 1

    def verify(options: Any, workspace: Workspace, reporter: Any, tell: Any) -> Any:
        world.do(f"verify {'+'.join(world.runs)}")
        check = SimpleNamespace(outcome="FAIL", line=lambda: "FAIL")
        return SimpleNamespace(
            checks=[SimpleNamespace(**vars(check), check=SimpleNamespace(name=name)) for name in world.checks]
        )

    def count(client: Any, identifier: str) -> Mapping[str, int]:
        return {"device": world.rows.pop(0) if len(world.rows) > 1 else world.rows[0]}

    monkeypatch.setattr(migrates, "read_sides", lambda *args: sides)
    monkeypatch.setattr(Planner, "plan", plan)
    monkeypatch.setattr(Copier, "copy", copy)
    monkeypatch.setattr(Copier, "take_into_use", lambda self, volume: world.do("take"))
    monkeypatch.setattr(verification, "verify_deployment", verify)
    monkeypatch.setattr(database, "count_rows", count)
    return made


def record(fake: FakeEngine) -> Migration | None:
    with fake.engine.client() as client:
        return read_migration(client, RECORD)


def in_use(fake: FakeEngine) -> tuple[str, bool]:
    """The mode that the record says is in use, and whether the migration is finished."""
    known = record(fake)
    assert known
    return known.in_use, known.finished


BEFORE = ["plan", "verify compose", "copy", "copy"]
AFTER = ["stop compose", "last copy", "take", "start swarm", "verify swarm", "remove compose"]


def test_the_services_are_down_only_for_the_last_copy(workspace: Workspace, fake: FakeEngine, world: World) -> None:
    result = migrate(OPTIONS["swarm"], workspace, Listener())
    assert world.steps == BEFORE + AFTER and world.runs == {"swarm"}
    assert result and result.downtime is not None
    assert (result.title, result.old, result.rows) == ("the swarm deployment", ("compose_db-data",), {"device": 3})
    assert in_use(fake) == ("swarm", True)
    assert fake.volumes["to"] == {"of": "swarm"} and fake.volumes[RECORD] == {"of": "compose"}
    with pytest.raises(UsageError, match="the swarm deployment already has the data"):
        migrate(OPTIONS["swarm"], workspace, Listener())


def test_the_lock_is_held_from_the_stop_to_the_end(workspace: Workspace, fake: FakeEngine, world: World) -> None:
    """A deploy from another machine in between would start the stack on data that is being left."""
    migrate(OPTIONS["swarm"], workspace, Listener())
    assert world.unlocked == set(BEFORE) and not world.locked()
    undo_migration(60.0, workspace, Listener())
    assert world.unlocked == set(BEFORE) and not world.locked()


def test_the_lock_of_somebody_else_is_told_before_anything_stops(
    workspace: Workspace, fake: FakeEngine, world: World
) -> None:
    with fake.engine.client() as client:
        labels = {"owner": "anna", "purpose": "swarm-up"}
        held = client.configs.create(name=LOCK_CONFIG, data=b"x", labels=labels).id
    with pytest.raises(OperationError, match=f"anna has been running swarm-up .* add --take-over {held}"):
        migrate(OPTIONS["swarm"], workspace, Listener())
    assert world.steps == BEFORE and world.runs == {"compose"}
    migrate(MigrateOptions("swarm", 60.0, take_over=held), workspace, Listener())
    assert world.runs == {"swarm"}


def test_back_again(workspace: Workspace, fake: FakeEngine, world: World) -> None:
    migrate(OPTIONS["swarm"], workspace, Listener())
    world.steps.clear()
    migrate(OPTIONS["compose"], workspace, Listener())
    assert [step.replace("swarm", "x").replace("compose", "swarm").replace("x", "compose") for step in world.steps] == (
        BEFORE + AFTER
    )
    assert world.runs == {"compose"} and in_use(fake) == ("compose", True)


@pytest.mark.parametrize("agrees", [True, False])
def test_a_plan_changes_nothing(agrees: bool, workspace: Workspace, fake: FakeEngine, world: World) -> None:
    listener = Listener(agrees=agrees)
    if agrees:
        assert migrate(MigrateOptions("swarm", 60.0, dry_run=True), workspace, listener) is None
    else:
        with pytest.raises(OperationError, match="nothing was migrated"):
            migrate(OPTIONS["swarm"], workspace, listener)
    assert "  from → to  2 KiB" in listener.told
    assert (world.steps, fake.volumes, record(fake)) == (["plan"], {}, None)


@pytest.mark.parametrize("failing", ["stop compose", "last copy", "take", "start swarm", "verify swarm"])
def test_on_any_failure_the_old_one_runs_again(
    failing: str, workspace: Workspace, fake: FakeEngine, world: World
) -> None:
    world.failing, listener = failing, Listener()
    with pytest.raises(OperationError, match="not now"):
        migrate(OPTIONS["swarm"], workspace, listener)
    assert world.runs == {"compose"} and world.steps[-1] == "resume compose"
    assert in_use(fake) == ("compose", False) and listener.warnings == ["the migration failed: not now"]
    migrate(OPTIONS["swarm"], workspace, Listener())
    assert world.runs == {"swarm"} and in_use(fake) == ("swarm", True)


def killed_at(step: str, workspace: Workspace, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A migration to a swarm that is killed at this step."""
    world.failing, world.error = step, Killed()
    with monkeypatch.context() as patch:
        patch.setattr(migrates._Run, "_recover", lambda *args: None)  # a killed process does nothing more
        with pytest.raises(Killed):
            migrate(OPTIONS["swarm"], workspace, Listener())


@pytest.mark.parametrize("step", [*BEFORE[1:], *AFTER])
def test_killed_anywhere_the_same_command_finishes(
    step: str, workspace: Workspace, fake: FakeEngine, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_at(step, workspace, world, monkeypatch)
    migrate(OPTIONS["swarm"], workspace, Listener())
    assert world.runs == {"swarm"} and in_use(fake) == ("swarm", True)
    again = step in ("verify swarm", "remove compose")
    assert world.steps.count("start swarm") == 1 + again, "what wrote is not copied over"
    assert world.steps[-1] == "remove compose"
    assert world.steps.index("last copy") < world.steps.index("start swarm")


def test_a_plan_does_not_finish_an_interrupted_one(
    workspace: Workspace, fake: FakeEngine, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_at("verify swarm", workspace, world, monkeypatch)
    done, listener = list(world.steps), Listener()
    assert migrate(MigrateOptions("swarm", 60.0, dry_run=True), workspace, listener) is None
    assert world.steps == done and in_use(fake) == ("swarm", False)
    assert "would be finished" in listener.told[-1]


@pytest.mark.parametrize("step", [*BEFORE[2:], *AFTER[:-1]])
def test_killed_anywhere_the_old_one_can_be_started_again(
    step: str, workspace: Workspace, fake: FakeEngine, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_at(step, workspace, world, monkeypatch)
    undo_migration(60.0, workspace, Listener())
    assert world.runs == {"compose"} and in_use(fake) == ("compose", False)


def test_an_interrupted_one_that_fails_again_keeps_what_was_written_since(
    workspace: Workspace, fake: FakeEngine, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_at("verify swarm", workspace, world, monkeypatch)
    world.failing, world.error = "verify swarm", OperationError("not now")
    with pytest.raises(OperationError, match="the migration is not finished: not now"):
        migrate(OPTIONS["swarm"], workspace, Listener())
    assert world.runs == {"swarm"} and in_use(fake) == ("swarm", False)


def test_checks_that_failed_before_do_not_count_others_do(workspace: Workspace, world: World) -> None:
    world.checks = {"dns"}
    assert migrate(OPTIONS["swarm"], workspace, Listener())
    with pytest.raises(OperationError, match="fewer rows than before: device 3; now device 2"):
        world.rows = [3, 2]
        migrate(OPTIONS["compose"], workspace, Listener())
    assert world.runs == {"swarm"}


def test_it_has_to_be_said_where_to(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="expected --to swarm, --to compose or --undo"):
        migrate(MigrateOptions(None, 60.0), workspace, Listener())


def test_undo_asks_before_newer_data_is_left(workspace: Workspace, fake: FakeEngine, world: World) -> None:
    with pytest.raises(UsageError, match="nothing was migrated"):
        undo_migration(60.0, workspace, Listener())
    migrate(OPTIONS["swarm"], workspace, Listener())
    with pytest.raises(OperationError, match="nothing was changed"):
        undo_migration(60.0, workspace, Listener(agrees=False))
    assert world.runs == {"swarm"}
    assert undo_migration(60.0, workspace, Listener()).title == "the compose deployment"
    assert world.steps[-2:] == ["remove swarm", "resume compose"] and in_use(fake) == ("compose", False)


def test_neither_can_be_started(workspace: Workspace, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def resume(self: FakeSide) -> None:
        raise OperationError("no engine")

    monkeypatch.setattr(FakeSide, "resume", resume)
    world.failing = "start swarm"
    with pytest.raises(
        OperationError, match="failed: not now; and the compose deployment could not be started again: no"
    ):
        migrate(OPTIONS["swarm"], workspace, Listener())


def test_both_deployments_are_those_of_the_settings(workspace: Workspace) -> None:
    sides = read_sides(workspace, Listener(), 60.0)
    assert (sides.origin("swarm").title, sides.of("swarm").title) == (
        f"the Compose deployment {NAME}",
        "the stack openbalena",
    )
    assert sides.compose.volume("resin-data") == RECORD and sides.swarm.volume("db-data") == "openbalena_db-data"
