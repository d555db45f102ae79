"""The order of a deploy's steps: nothing is changed before every check has passed, and settings are stored first.

What the steps do is tested where they are; here each only leaves its name.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hearing import Listener

from openbalena import stack as stacks
from openbalena.base.errors import OperationError
from openbalena.base.project import Project
from openbalena.cli.main import main
from openbalena.docker.engine import Engine
from openbalena.operations import deploy as deploys
from openbalena.operations import deployment as deployments
from openbalena.operations import rollout as rollouts
from openbalena.operations import settings_sync
from openbalena.operations.deploy import DeployOptions, deploy
from openbalena.operations.deploy_checks import DeployChecks
from openbalena.operations.deployment import Deployment
from openbalena.operations.rollout import Rollout, RolloutResult
from openbalena.operations.workspace import Workspace
from openbalena.pki import tokens
from openbalena.pki.database_login import Login
from openbalena.settings.variables import variables
from openbalena.stack.diff import Change
from openbalena.storage import database, record
from openbalena.swarm import deploy as stack_deploy
from openbalena.swarm import (
    lock,
    networks,
    planned_services,
    preflight,
    releases,
    rollout_order,
    service_update,
    state,
    watch,
)
from openbalena.swarm.preflight import DeployPlan, Finding
from openbalena.swarm.releases import Release
from openbalena.swarm.state import Cluster, SwarmService

CHECKS = ["check settings", "preflight", "lock", "check nodes", "check data", "check external services", "check schema"]
CHANGES = ["store settings", "roll out", "unlock"]
BEFORE_CHANGES, AFTER_ALL = "hook pre-deploy", "hook post-deploy"
WITH_DATA = SwarmService(id="s", name="openbalena_db", stack="openbalena", volumes=("openbalena_db-data",))


class Steps(list[str]):
    """The names of what was done, in order."""

    def step(self, name: str, result: Any = None, error: str = "") -> Callable[..., Any]:
        """A function that leaves `name` and returns `result`, or raises OperationError."""

        def done(*args: Any, **words: Any) -> Any:
            self.append(name)
            if error:
                raise OperationError(error)
            return result

        return done

    @contextmanager
    def recorded(
        self, client: object, stack: str, release: Release, *, wait: bool, migrations_of: object
    ) -> Iterator[None]:
        """A release that begins and ends."""
        assert release is RELEASE
        self.append("begin release")
        yield
        self.append(f"end release{'' if wait else ' unseen'}")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    directory = tmp_path_factory.mktemp("deployment")
    with pytest.MonkeyPatch.context() as patch:
        for name in variables():
            patch.delenv(name, raising=False)
        assert main(["--project-directory", str(directory), "config", "--dns-tld", "my.example.com", "--yes"]) == 0
    return Workspace(Project(directory=directory), lab=False)


@pytest.fixture
def steps(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Steps:
    """The deploy's own steps, each in place of what it would do."""
    for name in variables():
        monkeypatch.delenv(name, raising=False)
    found = Steps()

    @contextmanager
    def held(*args: Any) -> Iterator[None]:
        found.append("lock")
        try:
            yield
        finally:
            found.append("unlock")

    def with_built_images(deployment: Deployment, *args: Any) -> tuple[Deployment, frozenset[str]]:
        return deployment, frozenset()

    monkeypatch.setattr(deploys, "manager_client", lambda workspace: nullcontext((Engine(), object())))
    monkeypatch.setattr(settings_sync, "require_compatible_settings", found.step("check settings"))
    monkeypatch.setattr(state, "read_cluster", lambda client, stack: Cluster((), (), ()))
    monkeypatch.setattr(deploys, "with_built_images", with_built_images)
    monkeypatch.setattr(deploys, "plan_deploy", lambda *args: DeployPlan(()))
    monkeypatch.setattr(deploys, "other_mode_findings", lambda *args: [])
    monkeypatch.setattr(preflight, "preflight_findings", found.step("preflight", []))
    monkeypatch.setattr(lock, "acquire", held)
    monkeypatch.setattr(DeployChecks, "require_capable_nodes", found.step("check nodes"))
    monkeypatch.setattr(DeployChecks, "require_data", found.step("check data"))
    monkeypatch.setattr(DeployChecks, "require_external_services", found.step("check external services"))
    monkeypatch.setattr(DeployChecks, "require_schema", found.step("check schema"))
    monkeypatch.setattr(settings_sync, "upload", found.step("store settings"))
    monkeypatch.setattr(deploys, "run_hook", lambda project, name, values, reporter: found.append(f"hook {name}"))
    monkeypatch.setattr(Rollout, "run", found.step("roll out", RolloutResult(3, 7)))
    return found


def test_every_check_comes_before_every_change(steps: Steps, workspace: Workspace) -> None:
    result = deploy(DeployOptions(timeout=1), workspace, Listener())
    assert steps == [*CHECKS, BEFORE_CHANGES, *CHANGES, AFTER_ALL]
    assert (result.converged, result.release) == (3, 7) and result.settings["DNS_TLD"] == "my.example.com"


def test_a_restore_prepares_volumes_after_every_check_and_once(
    steps: Steps, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled: list[object] = []

    @contextmanager
    def restoring(checks: DeployChecks) -> Iterator[Callable[[], None]]:
        steps.append("volumes")
        yield steps.step("database")
        steps.append("disconnected")

    def run(self: Rollout, *, wait: bool) -> RolloutResult:
        filled.append(self.fill_database)
        steps.append("roll out")
        return RolloutResult(3, 7)

    monkeypatch.setattr(Rollout, "run", run)
    rotated = iter([["REDIS_PASSWORD"]])
    monkeypatch.setattr(tokens, "drop_previous_tokens", lambda project: next(rotated))
    deploy(DeployOptions(timeout=1, restoring=restoring), workspace, Listener())
    first = [*CHECKS, BEFORE_CHANGES, "store settings", "volumes", "roll out", "disconnected", "unlock"]
    assert steps == [*first, *CHECKS, *CHANGES, AFTER_ALL]
    assert filled[0] is not None and filled[1] is None


FAILING = {
    "check settings": (settings_sync, "require_compatible_settings"),
    "check nodes": (DeployChecks, "require_capable_nodes"),
    "check data": (DeployChecks, "require_data"),
    "check external services": (DeployChecks, "require_external_services"),
    "check schema": (DeployChecks, "require_schema"),
    "store settings": (settings_sync, "upload"),
}


@pytest.mark.parametrize("failing", FAILING)
def test_after_a_step_that_fails_comes_nothing_but_the_unlocking(
    failing: str, steps: Steps, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(*FAILING[failing], steps.step(failing, error="not now"))
    with pytest.raises(OperationError, match="not now"):
        deploy(DeployOptions(timeout=1), workspace, Listener())
    every = [*CHECKS, BEFORE_CHANGES, "store settings"]
    expected = every[: every.index(failing) + 1]
    assert steps == [*expected, *(["unlock"] if "lock" in expected else [])]


def test_every_fatal_finding_is_named_and_nothing_is_locked(
    steps: Steps, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    findings = [Finding("no label"), Finding("an old image", fatal=False), Finding("no port")]
    monkeypatch.setattr(preflight, "preflight_findings", steps.step("preflight", findings))
    listener = Listener()
    with pytest.raises(OperationError, match="nothing was deployed:\n  no label\n  no port$"):
        deploy(DeployOptions(timeout=1), workspace, listener)
    assert steps == ["check settings", "preflight"] and "warning: an old image" in listener.heard


@pytest.mark.parametrize("agrees", [True, False])
def test_a_service_with_data_is_removed_after_a_question_alone(
    agrees: bool, steps: Steps, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planned_services, "services_to_prune", lambda *args: [WITH_DATA])
    listener = Listener(agrees=agrees)
    if agrees:
        deploy(DeployOptions(timeout=1), workspace, listener)
        assert steps == [*CHECKS, BEFORE_CHANGES, *CHANGES, AFTER_ALL]
    else:
        with pytest.raises(OperationError, match="nothing was deployed"):
            deploy(DeployOptions(timeout=1), workspace, listener)
        assert steps == ["check settings", "preflight"], "the lock is not held while the question is open"
    assert any(text.startswith("db (volume") and "no longer in the settings" in text for text in listener.heard)


@pytest.mark.parametrize(("wait", "rollouts_made"), [(True, 2), (False, 1)])
def test_a_previous_token_is_removed_by_a_second_deploy_once_the_first_has_converged(
    wait: bool, rollouts_made: int, steps: Steps, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotated = iter([["REDIS_PASSWORD"]])
    monkeypatch.setattr(tokens, "drop_previous_tokens", lambda project: next(rotated))
    listener = Listener()
    deploy(DeployOptions(timeout=1, wait=wait), workspace, listener)
    first, second = [*CHECKS, BEFORE_CHANGES, *CHANGES], CHECKS + CHANGES
    assert steps == [*first, *(second * (rollouts_made - 1)), AFTER_ALL], "the hooks run once"
    assert any("no service uses the previous REDIS_PASSWORD" in text for text in listener.heard) is wait


BEFORE = Cluster((), (), ())
RELEASE = Release(7, "me@here", "2026-11-26T10:00:00+00:00", "swarm-up")
LOGIN = Login("api-1", "secret")


@pytest.fixture
def rollout(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> tuple[Rollout, Steps]:
    """A rollout in which every step is due, of a cluster that does as it is told."""
    steps = Steps()
    deployment = deployments.load(workspace.project, lab=False)
    document = {"name": "whole", "services": {"db": {}}}

    def submit(*args: Any, only: Sequence[str], **words: Any) -> None:
        steps.append(f"submit {', '.join(only) or 'all'}")

    def render(compiled: Any, *args: Any) -> None:
        steps.append(f"render {compiled.document['name']}")

    def ensure(self: Any, login: Login, *, alone: bool) -> None:
        assert login is LOGIN
        steps.append("close other logins" if alone else "create login")

    outcome = SimpleNamespace(progress=[1, 2], cluster=BEFORE, reason="")

    def waited(*args: Any) -> Any:
        steps.append(f"wait for {', '.join(name.partition('_')[2] for name in args[5]) or 'all'}")
        return outcome

    patches: list[tuple[Any, str, Any]] = [
        (state, "read_cluster", lambda *args: BEFORE),
        (rollouts, "with_manual_scaling", lambda *args: (document, {"web": (3, 2)})),
        (rollouts, "in_use", lambda settings: LOGIN),
        (record, "read_registry", lambda *args: None),
        (record, "record_observed", steps.step("record")),
        (database, "is_settled", lambda *args: False),
        (database, "has_converged", lambda *args: False),
        (database.Database, "ensure", ensure),
        (service_update, "find_service", lambda *args: object()),
        (rollouts, "rendered_document", lambda *args: document),
        (rollouts, "document_changes", lambda *args: {}),
        (releases, "read_releases", lambda *args: []),
        (rollouts, "next_release", lambda *args: RELEASE),
        (rollouts, "recorded", steps.recorded),
        (networks, "network_names", lambda client: {}),
        (networks, "intermediate_document", lambda *args: {**document, "name": "both networks"}),
        (networks, "services_changing_networks", lambda *args: ["s3"]),
        (rollout_order, "one_api", lambda *args: {**document, "name": "one api"}),
        (rollout_order, "newly_internal", lambda *args: ["redis"]),
        (rollout_order, "versions", lambda *args: {}),
        (rollout_order, "services_to_roll_first", lambda *args: ["vpn", "api"]),
        (planned_services, "planned_services", lambda *args: ()),
        (stack_deploy, "read_rendered", lambda directory: document),
        (stack_deploy, "submit_stack", submit),
        (stack_deploy, "remove_unused", steps.step("prune", ["ob_api-env-1"])),
        (stacks, "render", render),
        (watch, "wait_until_converged", waited),
    ]
    for owner, name, value in patches:
        monkeypatch.setattr(owner, name, value)
    made = Rollout(
        workspace.project, Listener(), Engine(), object(), deployment, resolve=False, timeout=1, command="swarm-up"
    )
    return made, steps


BEGUN = [
    *("render whole", "begin release", "render one api"),
    *("submit redis", "wait for redis", "record"),
    *("submit db", "wait for db", "record", "create login"),
    *("submit all", "wait for all", "record", "render both networks"),
    *("submit vpn", "wait for vpn", "record", "submit api", "wait for api", "record"),
    *("submit all", "wait for all", "record", "render whole"),
    *("submit s3", "wait for s3", "record"),
]
WHOLE = ["submit all", "wait for all", "record", "close other logins", "end release", "prune"]


def test_what_others_need_runs_first_and_what_is_unused_goes_last(rollout: tuple[Rollout, Steps]) -> None:
    made, steps = rollout
    assert made.run(wait=True) == RolloutResult(2, 7)
    assert steps == BEGUN + WHOLE


def test_a_restore_fills_the_database_before_an_api_starts(rollout: tuple[Rollout, Steps]) -> None:
    made, steps = rollout
    replace(made, fill_database=steps.step("fill")).run(wait=True)
    login = BEGUN.index("create login") + 1
    assert steps == [*BEGUN[:login], "fill", *BEGUN[login:], *WHOLE]


def test_a_restore_starts_a_database_that_needs_no_login(
    rollout: tuple[Rollout, Steps], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, steps = rollout
    monkeypatch.setattr(rollouts, "in_use", lambda settings: None)
    replace(made, fill_database=steps.step("fill")).run(wait=True)
    assert steps[steps.index("fill") - 3 : steps.index("fill")] == ["submit db", "wait for db", "record"]


def test_without_waiting_nothing_is_removed(rollout: tuple[Rollout, Steps]) -> None:
    made, steps = rollout
    assert made.run(wait=False) == RolloutResult(None, 7)
    assert steps == [*BEGUN, "submit all", "end release unseen"]


def test_an_update_of_nothing_special_is_one_deploy(
    rollout: tuple[Rollout, Steps], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, steps = rollout
    for owner, name, value in (
        (database, "is_settled", True),
        (networks, "intermediate_document", None),
        (networks, "services_changing_networks", []),
        (rollout_order, "one_api", None),
        (rollout_order, "newly_internal", []),
        (rollout_order, "services_to_roll_first", []),
    ):
        monkeypatch.setattr(owner, name, lambda *args, value=value: value)
    monkeypatch.setattr(rollouts, "rendered_document", steps.step("read", {"services": {}}))
    assert made.run(wait=True) == RolloutResult(2, 7)
    assert steps == [
        *("render whole", "read", "begin release"),
        *("submit all", "wait for all", "record", "end release", "prune"),
    ]


def changes(count: int, title: str = "image") -> list[Change]:
    return [Change(title, str(number)) for number in range(count)]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({}, []),
        ({"api": changes(5)}, ["api: image: 0; image: 1; image: 2; image: 3; image: 4"]),
        ({"api": changes(7)}, ["api: image: 0; image: 1; image: 2; image: 3; image: 4; 2 more"]),
        ({"api": changes(1, "replicas")}, ["api (its tasks keep running): replicas: 0"]),
        ({"web": [Change("", "is new")]}, ["web: is new"]),
    ],
)
def test_what_changes_is_reported_before_anything_is_done(
    found: dict[str, list[Change]],
    said: list[str],
    rollout: tuple[Rollout, Steps],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, steps = rollout
    running = Cluster((), (SwarmService("a", "openbalena_api", "openbalena"),), ())
    monkeypatch.setattr(rollouts, "document_changes", lambda *args: found)
    monkeypatch.setattr(state, "read_cluster", lambda *args: running)
    listener = Listener()
    replace(made, reporter=listener).run(wait=True)
    assert listener.heard[1 : 1 + len(said)] == said and steps[0] == "render whole"
    assert not said or len(said) == sum(line.startswith(("api", "web")) for line in listener.heard)


def test_a_first_deploy_reports_no_changes(rollout: tuple[Rollout, Steps], monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = rollout
    monkeypatch.setattr(rollouts, "document_changes", lambda *args: {"api": [Change("", "is new")]})
    listener = Listener()
    replace(made, reporter=listener).run(wait=True)
    assert not any(line.startswith("api") for line in listener.heard)


def test_nothing_is_removed_where_a_service_does_not_run(
    rollout: tuple[Rollout, Steps], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, steps = rollout
    monkeypatch.setattr(rollout_order, "one_api", lambda *args: None)
    monkeypatch.setattr(networks, "intermediate_document", lambda *args: None)
    failed = SimpleNamespace(progress=[], problems=[], cluster=BEFORE, reason="api crashes")
    monkeypatch.setattr(watch, "wait_until_converged", steps.step("wait for all", failed))
    with pytest.raises(OperationError, match="the deployment failed: api crashes"):
        made.run(wait=True)
    assert steps[-1] == "record" and "prune" not in steps and "close other logins" not in steps


@pytest.fixture(autouse=True)
def no_output(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """An operation prints nothing."""
    yield
    captured = capfd.readouterr()
    assert captured.out == "" and captured.err == ""
