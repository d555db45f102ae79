"""upgrade: the order of its steps, and what runs and what is in `.env` after a failure or a kill at each of them."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hearing import Listener

from openbalena.base.errors import OpenBalenaError, OperationError, UsageError
from openbalena.base.project import Project
from openbalena.compose import dotenv
from openbalena.operations import upgrade as upgrades
from openbalena.operations.upgrade import UpgradeOptions, check_upgrade, upgrade
from openbalena.operations.upgrade_places import DatabaseFacts
from openbalena.operations.upgrade_settings import read_unfinished
from openbalena.operations.workspace import Workspace
from openbalena.settings.variables import variables
from openbalena.upgrade.releases import known_releases, setting

OPTIONS = UpgradeOptions(None, 60.0)
NEWEST = known_releases().releases[-1]


class Killed(BaseException):
    """The end of a process that nothing can catch."""


def migrations(last: int) -> tuple[str, ...]:
    return tuple(f"{number:05}" for number in range(last + 1))


def images_of(version: str) -> dict[str, str]:
    """The images of a release, as openBalena names them."""
    images = known_releases().find(version).images
    names = {service: variables()[setting(service)].default.partition(":")[0] for service in images}
    return {service: f"{names[service]}:{number}" for service, number in images.items()}


@dataclass
class World:
    """A deployment that runs what `.env` says once it is started; `failing` are the steps that fail, once each."""

    project: Project
    runs: dict[str, str]
    executed: tuple[str, ...] | None
    steps: list[str] = field(default_factory=list)
    failing: list[str] = field(default_factory=list)
    error: BaseException = field(default_factory=lambda: OperationError("api: exited"))
    begins: bool = True
    migrates_to: int = 114
    deploys: int = 0

    def do(self, step: str) -> None:
        if step in self.failing:
            self.failing.remove(step)
            raise self.error
        self.steps.append(step)

    @property
    def written(self) -> dict[str, str]:
        """The images in `.env`."""
        values = dotenv.read_file(self.project.env_file).values
        return {name: value for name, value in values.items() if name.endswith("_IMAGE")}

    def images(self) -> dict[str, str]:
        return dict(self.runs)

    def database(self) -> DatabaseFacts:
        if self.executed is None:
            raise OperationError("db: refused")
        return DatabaseFacts(18, self.executed)

    def version(self) -> object:
        return self.deploys

    def start(self, message: str) -> None:
        fails = f"start {message}" in self.failing
        if self.begins or not fails:
            self.deploys += 1
            self.runs |= {name: self.written.get(setting(name), self.runs[name]) for name in self.runs}
            if self.executed is not None and self.runs["api"] == images_of(NEWEST.version)["api"]:
                self.executed = migrations(max(self.migrates_to, len(self.executed) - 1))
        self.do(f"start {message}")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """The release 4.1.836 runs, whose images are not in `.env`, and each step leaves its name."""
    for name in variables():
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".env").write_text(
        "DNS_TLD=my.example.com\nBACKUP_REPOSITORY=/srv/backup\nBACKUP_PASSWORD=a-password\n"
    )
    made = World(Project(tmp_path), images_of("4.1.836"), migrations(112))

    class Running:
        def __enter__(self) -> World:
            return made

        def __exit__(self, *args: object) -> None:
            made.do("closed")

    saved: list[str] = []

    def create(*args: Any) -> Any:
        made.do("backup")
        saved.append(f"set{len(saved) + 1}")
        return SimpleNamespace(set=saved[-1])

    def check(name: str, *args: Any) -> Any:
        assert name == saved[-1]
        made.do("check")
        refusals = ("the repository has lost it",) if "refused backup" in made.failing else ()
        return SimpleNamespace(plan=SimpleNamespace(refusals=refusals))

    monkeypatch.setattr(upgrades, "running_place", lambda *args: Running())
    monkeypatch.setattr(upgrades, "create_backup", create)
    monkeypatch.setattr(upgrades, "check_backup", check)
    return made


def workspace(world: World) -> Workspace:
    return Workspace(world.project, lab=False)


THERE, BACK = f"start upgrade to {NEWEST.version}", f"start back from {NEWEST.version}"


def test_the_backup_comes_first_and_every_image_is_pinned(world: World) -> None:
    listener = Listener()
    result = upgrade(OPTIONS, workspace(world), listener)
    assert world.steps == ["backup", "check", THERE, "closed"]
    assert (result.changed, result.backup, result.plan.former) == (True, "set1", "4.1.836")
    new = images_of(NEWEST.version)
    assert world.written == {setting(service): image for service, image in new.items()}
    assert {"api": new["api"], "db": new["db"]}.items() <= world.runs.items()
    assert "  api: balena/open-balena-api:48.1.6 → balena/open-balena-api:49.0.8" in listener.told
    assert listener.questions == ["Upgrade openBalena to 4.1.924?"] and listener.warnings == []
    assert read_unfinished(world.project) is None


def test_what_runs_already_is_not_deployed(world: World) -> None:
    world.runs, world.executed = images_of(NEWEST.version), migrations(114)
    result = upgrade(OPTIONS, workspace(world), Listener())
    assert (result.changed, world.steps, world.written) == (False, ["closed"], {})


def test_a_check_changes_nothing(world: World) -> None:
    plan = check_upgrade(UpgradeOptions("4.1.894", 60.0), workspace(world), Listener())
    assert plan.version == "4.1.894" and plan.changes and not plan.refusals
    assert (world.steps, world.written) == (["closed"], {})


def test_without_a_repository_it_must_be_told_so(world: World) -> None:
    world.project.env_file.write_text("DNS_TLD=my.example.com\n")
    with pytest.raises(UsageError, match="BACKUP_REPOSITORY is not set, and upgrade saves the deployment first"):
        upgrade(OPTIONS, workspace(world), Listener())
    assert world.steps == ["closed"]
    world.steps.clear()
    result = upgrade(UpgradeOptions(None, 60.0, backup=False), workspace(world), Listener())
    assert world.steps == [THERE, "closed"] and result.backup == ""


@pytest.mark.parametrize(
    ("failing", "agrees", "reason"),
    [
        ("", False, "nothing was changed"),
        ("backup", True, "api: exited"),
        ("check", True, "api: exited"),
        ("refused backup", True, "nothing was changed: backup set1:\n  the repository has lost it"),
    ],
)
def test_before_the_backup_is_good_nothing_changes(world: World, failing: str, agrees: bool, reason: str) -> None:
    world.failing = [failing] * bool(failing)
    before = world.project.env_file.read_bytes()
    with pytest.raises(OperationError) as refused:
        upgrade(OPTIONS, workspace(world), Listener(agrees=agrees))
    assert str(refused.value) == reason and THERE not in world.steps
    assert world.project.env_file.read_bytes() == before and read_unfinished(world.project) is None


def test_every_reason_against_it_is_named(world: World) -> None:
    world.executed = migrations(116)
    listener = Listener()
    with pytest.raises(OperationError, match="nothing was changed:\n  api 49.0.8: a newer version .* 00115, 00116, of"):
        upgrade(OPTIONS, workspace(world), listener)
    assert (world.steps, world.written, listener.questions) == (["closed"], {}, [])


def test_after_a_refused_deploy_the_settings_name_what_runs(world: World) -> None:
    world.failing, world.begins = [THERE], False
    with pytest.raises(OperationError, match="nothing was deployed, and .env has the former images: api: exited"):
        upgrade(OPTIONS, workspace(world), Listener())
    former = images_of("4.1.836")
    assert world.written == {setting(name): former[name] for name in ("api", "registry", "vpn", "db", "s3")}
    assert BACK not in world.steps
    assert read_unfinished(world.project) is None


def test_after_a_failure_the_former_release_runs(world: World) -> None:
    # The images were the defaults of an earlier version of this project, and are named in .env since.
    former = images_of("4.1.836")
    with world.project.env_file.open("a") as file:
        file.writelines(f"{setting(name)}={image}\n" for name, image in former.items())
    world.failing = [THERE]
    before = world.project.env_file.read_bytes()
    listener = Listener()
    with pytest.raises(OperationError, match="the upgrade failed, and the former release runs again: api: exited"):
        upgrade(OPTIONS, workspace(world), listener)
    assert world.steps == ["backup", "check", BACK, "closed"]
    assert world.runs == former and world.project.env_file.read_bytes() == before
    assert read_unfinished(world.project) is None
    assert listener.warnings == ["the upgrade failed: api: exited"]


def test_images_that_were_not_in_the_settings_are_started_again_too(world: World) -> None:
    """Their defaults may be newer, since the checkout is: what ran must be started, not those."""
    world.failing = [THERE]
    with pytest.raises(OperationError, match="the former release runs again"):
        upgrade(OPTIONS, workspace(world), Listener())
    built = {name: images_of(NEWEST.version)[name] for name in ("haproxy", "cert-manager")}
    assert world.runs == images_of("4.1.836") | built


def test_the_former_release_may_fail_too(world: World) -> None:
    world.failing = [THERE, BACK]
    with pytest.raises(OpenBalenaError) as failed:
        upgrade(OPTIONS, workspace(world), Listener())
    assert str(failed.value) == (
        "the upgrade failed: api: exited; and the former release, whose images are in .env again, could not be "
        "started: api: exited: fix the cause and start it, or restore backup set1: see docs/upgrade.md"
    )
    assert world.written.get("API_IMAGE") != images_of(NEWEST.version)["api"]


@pytest.mark.parametrize("backup", [True, False])
def test_the_former_api_is_not_started_on_a_database_that_it_cannot_use(world: World, backup: bool) -> None:
    world.failing, world.migrates_to = [THERE], 115
    with pytest.raises(OpenBalenaError) as failed:
        upgrade(UpgradeOptions(None, 60.0, backup=backup), workspace(world), Listener())
    assert str(failed.value).startswith(
        "the upgrade failed, and the former api must not be started again: a newer version has changed the database by "
        "migration 00115, of which it is not known that an older api runs on it: api: exited: fix the cause and run "
        f"./open-balena.sh upgrade again, or restore {'backup set1' if backup else 'a backup'}: see docs/upgrade.md"
    )
    assert BACK not in world.steps and world.written["API_IMAGE"] == images_of(NEWEST.version)["api"]
    assert read_unfinished(world.project)


@pytest.mark.parametrize("begins", [True, False])
def test_a_killed_upgrade_is_finished_by_the_next(world: World, begins: bool) -> None:
    world.failing, world.error, world.begins = [THERE], Killed(), begins
    with pytest.raises(Killed):
        upgrade(OPTIONS, workspace(world), Listener())
    assert read_unfinished(world.project)
    warned = Listener()
    check_upgrade(OPTIONS, workspace(world), warned)
    assert warned.warnings == ["an upgrade to 4.1.924 was interrupted before it had finished"]
    world.steps.clear()
    assert upgrade(OPTIONS, workspace(world), Listener()).changed
    assert world.steps == ["backup", "check", THERE, "closed"]
    assert world.runs == images_of(NEWEST.version) and read_unfinished(world.project) is None


@pytest.mark.parametrize(("first", "named"), [(True, "restore backup set1"), (False, "restore a backup")])
def test_the_way_back_of_a_killed_upgrade_is_the_backup_before_it(world: World, first: bool, named: str) -> None:
    """A later one may have the new images, and the database as the new api left it."""
    world.failing, world.error, world.migrates_to = [THERE], Killed(), 115
    with pytest.raises(Killed):
        upgrade(UpgradeOptions(None, 60.0, backup=first), workspace(world), Listener())
    world.executed, world.runs["api"] = migrations(112), images_of("4.1.836")["api"]
    world.failing, world.error = [THERE], OperationError("api: exited")
    with pytest.raises(OpenBalenaError, match=f"run ./open-balena.sh upgrade again, or {named}: see docs/upgrade.md"):
        upgrade(OPTIONS, workspace(world), Listener())


@pytest.mark.parametrize("begins", [True, False])
def test_a_killed_upgrade_that_then_fails_returns_to_the_first_release(world: World, begins: bool) -> None:
    with world.project.env_file.open("a") as file:
        file.writelines(f"{setting(name)}={image}\n" for name, image in images_of("4.1.836").items())
    world.failing, world.error = [THERE], Killed()
    with pytest.raises(Killed):
        upgrade(OPTIONS, workspace(world), Listener())
    world.failing, world.error, world.begins = [THERE], OperationError("api: exited"), begins
    with pytest.raises(OperationError, match="the former release runs again"):
        upgrade(OPTIONS, workspace(world), Listener())
    assert world.runs == images_of("4.1.836") == {
        name: world.written[setting(name)] for name in world.runs
    }  # fmt: skip


def test_an_update_that_swarm_rolled_back_may_have_migrated_the_database(world: World) -> None:
    """The former api runs already then, but nothing else may be put back as if it could."""
    world.failing, world.migrates_to = [THERE], 115

    def fail(message: str, started: Any = world.start) -> None:
        try:
            started(message)
        finally:
            world.runs = images_of("4.1.836")

    world.start = fail  # type: ignore[method-assign]
    with pytest.raises(OperationError, match="the former api must not be started again: a newer version has changed"):
        upgrade(OPTIONS, workspace(world), Listener())


@pytest.mark.parametrize("begins", [True, False])
def test_a_killed_upgrade_that_a_deploy_has_finished_is_over(world: World, begins: bool) -> None:
    first = UpgradeOptions("4.1.894", 60.0)
    world.failing, world.error, world.begins = ["start upgrade to 4.1.894"], Killed(), begins
    with pytest.raises(Killed):
        upgrade(first, workspace(world), Listener())
    world.failing, world.error, world.begins = [THERE], OperationError("api: exited"), True
    with pytest.raises(OperationError, match="the former release runs again"):
        upgrade(OPTIONS, workspace(world), Listener())
    assert world.runs["api"] == images_of("4.1.894" if begins else "4.1.836")["api"]


def test_a_database_that_does_not_answer_while_the_former_api_runs(world: World) -> None:
    """It is what failed, so the new api was never started."""
    world.runs, world.executed = images_of("4.1.452"), migrations(104)
    world.failing = [THERE]

    def fail(message: str, started: Any = world.start) -> None:
        before = dict(world.runs)
        try:
            started(message)
        except OperationError:
            world.executed = None
            world.runs = {**world.runs, "api": before["api"]}
            raise

    world.start = fail  # type: ignore[method-assign]
    with pytest.raises(OperationError, match="the former release runs again"):
        upgrade(UpgradeOptions(None, 60.0, keep_database=True), workspace(world), Listener())


def test_a_database_that_does_not_answer_after_a_step_without_a_way_back(world: World) -> None:
    world.runs, world.executed = images_of("4.1.452"), migrations(104)
    world.failing = [THERE]

    def fail(message: str, started: Any = world.start) -> None:
        try:
            started(message)
        finally:
            world.executed = None

    world.start = fail  # type: ignore[method-assign]
    options = UpgradeOptions(None, 60.0, keep_database=True)
    with pytest.raises(OperationError, match="the former api must not be started again: which migrations the database"):
        upgrade(options, workspace(world), Listener())
    assert BACK not in world.steps
