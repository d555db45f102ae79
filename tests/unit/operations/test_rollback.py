"""swarm-rollback: which release is chosen, what keeps it from being deployed, and what is deployed of it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine
from fake_swarm import Row, stack_service
from hearing import Listener

from openbalena.base.errors import OpenBalenaError, OperationError, UsageError
from openbalena.base.project import Project
from openbalena.operations.rollback import RollbackOptions, choose_release, roll_back
from openbalena.operations.rollout import Rollout, RolloutResult
from openbalena.operations.workspace import Workspace
from openbalena.swarm import lock, releases
from openbalena.swarm.releases import Outcome, Release

COMPOSE = """\
services:
  api: {image: "api:3", x-swarm: {deploy: {replicas: 1}}}
x-swarm:
  networks:
    default: {driver: overlay}
"""


def release(number: int, outcome: Outcome = Outcome.SUCCEEDED, **services: str) -> Release:
    bodies = {name: {"image": image} for name, image in (services or {"api": f"api:{number}"}).items()}
    document = {"version": "3.13", "services": bodies, "networks": {"default": {"driver": "overlay"}}}
    return Release(number, "ann@desk", "2026-11-26T10:00:00+00:00", "swarm-up", outcome=outcome, document=document)


KNOWN = [release(4), release(3, Outcome.FAILED), release(2), release(1, api="api:1", web="web:1")]


@pytest.mark.parametrize(
    ("known", "asked", "service", "expected"),
    [
        (KNOWN, None, "", 2),
        (KNOWN, 3, "", 3),
        (KNOWN, 1, "web", 1),
        (KNOWN, 2, "web", "release 2 has no service web: it has api"),
        (KNOWN, 9, "", "there is no release 9: the last ones are 4, 3, 2, 1"),
        (KNOWN[:2], None, "", "there is no earlier release that succeeded"),
        ([], None, "", "this stack has no releases yet"),
        ([], 1, "", "this stack has no releases yet"),
    ],
)
def test_the_release_to_deploy(known: list[Release], asked: int | None, service: str, expected: int | str) -> None:
    if isinstance(expected, int):
        assert choose_release(known, asked, service).number == expected
        return
    with pytest.raises(OpenBalenaError) as found:
        choose_release(known, asked, service)
    assert str(found.value).startswith(expected)
    assert isinstance(found.value, UsageError) is (bool(known) and asked is not None)


@pytest.fixture
def rollouts(monkeypatch: pytest.MonkeyPatch) -> list[Rollout]:
    """The rollouts that were begun."""
    found: list[Rollout] = []

    def run(self: Rollout, *, wait: bool) -> RolloutResult:
        assert wait
        found.append(self)
        return RolloutResult(1, 5)

    monkeypatch.setattr(Rollout, "run", run)
    return found


@pytest.fixture
def workspace(project: Project, fake: FakeEngine, tmp_path: Path) -> Workspace:
    root = tmp_path / "root"
    root.mkdir()
    (root / "docker-compose.yml").write_text(COMPOSE)
    fake.images |= {f"api:{number}" for number in (1, 2, 4)}
    fake.swarm.create("services", stack_service("api", stack="openbalena"))
    return Workspace(replace(project, root=root), lab=False)


def record(fake: FakeEngine, *known: Release) -> None:
    with fake.engine.client() as client:
        for each in known:
            releases.begin(client, "openbalena", each)


def options(number: int | None = None, service: str = "") -> RollbackOptions:
    return RollbackOptions(number, service, timeout=1)


def test_the_definitions_of_the_release_are_deployed_under_the_lock(
    workspace: Workspace, fake: FakeEngine, rollouts: list[Rollout]
) -> None:
    record(fake, release(1), release(2))
    result = roll_back(options(), workspace, Listener())
    (begun,) = rollouts
    assert (result.stack, result.release.number, result.recorded) == ("openbalena", 1, 5)
    assert begun.command == "swarm-rollback 1" and not begun.resolve
    assert begun.deployment.compiled.document == release(1).document
    assert begun.deployment.compiled.content_files == ()
    with fake.engine.client() as client:
        assert [item.name for item in client.configs.list()] == ["openbalena-release-openbalena-1",
                                                                 "openbalena-release-openbalena-2"]  # fmt: skip


def test_one_service_alone(workspace: Workspace, fake: FakeEngine, rollouts: list[Rollout]) -> None:
    record(fake, release(1, api="api:1", web="api:1"), release(2, api="api:2", web="api:2"))
    roll_back(options(1, "web"), workspace, Listener())
    (begun,) = rollouts
    assert begun.command == "swarm-rollback 1 web"
    services = begun.deployment.compiled.document["services"]
    assert {name: body["image"] for name, body in services.items()} == {"api": "api:2", "web": "api:1"}


def test_what_has_no_way_back_is_refused_before_the_lock(
    workspace: Workspace, fake: FakeEngine, rollouts: list[Rollout]
) -> None:
    gone: dict[str, Any] = {"secrets": {"openbalena_x-1": {"external": True, "name": "openbalena_x-1"}}}
    record(fake, replace(release(1), document={**release(1).document, **gone}), release(2))
    with pytest.raises(OperationError, match="release 1 cannot be deployed:\n  the swarm no longer has openbalena_x-1"):
        roll_back(options(), workspace, Listener())
    assert rollouts == []


@pytest.mark.parametrize(
    ("executed", "known", "agrees", "says"),
    [
        (["1", "00113"], ["1", "00113"], True, ""),
        (["1", "00113"], ["1"], True, "warning: api: it is older than the database's schema: a release with an image"),
        (["1", "2"], ["1"], True, "release 1 cannot be deployed:\n  api: a newer version has changed the database by"),
        (["1"], None, True, "api: it may not run on the database's schema: no successful release has recorded"),
        (["1"], None, False, "nothing was deployed"),
        (None, ["1"], True, "warning: cannot read which migrations of the api the database has executed: db: refused"),
        (None, ["1"], False, "nothing was deployed"),
    ],
)
def test_an_older_api_needs_a_schema_that_it_runs_on(
    executed: list[str] | None, known: list[str] | None, agrees: bool, says: str, workspace: Workspace,
    fake: FakeEngine, rollouts: list[Rollout],
) -> None:  # fmt: skip
    record(fake, replace(release(1), migrations=known), release(2))
    fake.swarm.create("services", stack_service("db", stack="openbalena"))
    fake.swarm.logs["openbalena-database"] = [
        json.dumps(executed) if executed is not None else "refused", "openbalena-job-end"
    ]  # fmt: skip
    if executed is None:
        fake.swarm.fates["openbalena-database"] = [[Row(0, "failed", "task: non-zero exit (1)", 1)]]
    listener = Listener(agrees=agrees)
    deployed = not says.startswith(("nothing", "release"))
    if deployed:
        roll_back(options(1), workspace, listener)
    else:
        with pytest.raises(OperationError) as refused:
            roll_back(options(1), workspace, listener)
        assert str(refused.value).startswith(says)
    assert bool(rollouts) is deployed and bool(listener.questions) is (executed is None or known is None)
    assert not deployed or bool(says) is any(line.startswith(says) for line in listener.heard if says)
    with fake.engine.client() as client:
        assert "openbalena-deploy-lock" not in [item.name for item in client.configs.list()]


def test_the_user_is_asked_without_the_lock_and_what_somebody_deployed_meanwhile_is_not_undone(
    workspace: Workspace, fake: FakeEngine, rollouts: list[Rollout]
) -> None:
    record(fake, release(1), release(2))
    asked: list[str] = []

    class Slow(Listener):
        def confirm(self, question: str) -> bool:
            with fake.engine.client() as client, lock.acquire(client, "swarm-up"):
                asked.append(question)
                if len(asked) == 1:
                    releases.begin(client, "openbalena", release(3, api="api:4"))
            return super().confirm(question)

    with pytest.raises(
        OperationError, match=r"^nothing was deployed: ann@desk has run swarm-up meanwhile \(release 3\)"
    ):
        roll_back(options(1), workspace, Slow())
    assert len(asked) == 1 and not rollouts
    roll_back(options(1), workspace, Slow())
    assert len(asked) == 2 and rollouts, "asked once, with the same answer after it"


def test_the_api_that_runs_is_not_judged(workspace: Workspace, fake: FakeEngine, rollouts: list[Rollout]) -> None:
    running = fake.swarm.named("services", "openbalena_api")["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"]
    fake.images.add(running)
    record(fake, release(1, api=running), release(2, api=running))
    listener = Listener(agrees=False)
    roll_back(options(1), workspace, listener)
    assert rollouts and not listener.heard


def test_a_deploy_by_another_machine_keeps_it_waiting(
    workspace: Workspace, fake: FakeEngine, rollouts: list[Rollout]
) -> None:
    record(fake, release(1), release(2))
    labels = {"machine": "elsewhere", "owner": "ann@desk", "purpose": "swarm-up"}
    with fake.engine.client() as client:
        client.configs.create(name="openbalena-deploy-lock", data=b"x", labels=labels)
    with pytest.raises(OperationError, match="ann@desk has been running swarm-up"):
        roll_back(options(), workspace, Listener())
    assert rollouts == []
