"""Updates that Swarm does not roll back by itself."""

from collections.abc import Callable
from typing import Any

import pytest
from fake_engine import FakeEngine
from fake_swarm import RefusedError, stack_service

from openbalena.swarm import stuck_updates, watch
from openbalena.swarm.convergence import Phase
from openbalena.swarm.watch import DeployOutcome

NOWHERE = ["node.labels.x == true"]


@pytest.fixture
def failed(fake: FakeEngine) -> Callable[..., DeployOutcome]:
    """The outcome of an update of the api (and a db that is fine), after roll_back_stuck."""

    def deploy(*, action: str = "rollback", constraints: list[str] = NOWHERE, first: bool = False) -> DeployOutcome:
        fake.swarm.node("node1", "manager")
        fake.swarm.create("services", stack_service("db"))
        made: dict[str, Any] = {"UpdateConfig": {"FailureAction": action}}
        if not first:
            fake.swarm.create("services", stack_service("api", Hostname="old") | made)
        new = stack_service("api", Hostname="new", constraints=constraints) | made
        if first:
            fake.swarm.create("services", new)
        else:
            version = fake.swarm.named("services", "ob_api")["Version"]["Index"]
            fake.swarm.update("services", "ob_api", version, new)
        fake.swarm.named("services", "ob_api")["UpdateStatus"] = {"State": "updating"}
        with fake.engine.client() as client:
            outcome = watch.wait_until_converged(client, "ob", 40, frozenset(), lambda _: None)
            return stuck_updates.roll_back_stuck(fake.engine, client, "ob", outcome, lambda _: None)

    return deploy


def rolled_back(fake: FakeEngine) -> bool:
    return any("/update" in each for each in fake.swarm.asked)


def test_what_no_node_can_take_is_rolled_back(fake: FakeEngine, failed: Callable[..., DeployOutcome]) -> None:
    outcome = failed()
    assert outcome.reason == "a permanent error" and "constraints not satisfied" in outcome.problems[0].error
    assert [(item.service.short_name, item.phase) for item in outcome.progress] == [
        ("api", Phase.ROLLED_BACK),
        ("db", Phase.CONVERGED),
    ]
    assert fake.swarm.named("services", "ob_api")["Spec"]["TaskTemplate"]["ContainerSpec"]["Hostname"] == "old"


@pytest.mark.parametrize(("method", "path"), [("POST", "/services/"), ("GET", "/services/")])
def test_why_the_deploy_failed_is_told_if_it_cannot_be_rolled_back(
    fake: FakeEngine, failed: Callable[..., DeployOutcome], method: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = watch.wait_until_converged

    def wait_and_refuse(*args: Any) -> DeployOutcome:
        fake.swarm.refusals += [(method, path, RefusedError(500, "no leader"))]
        return wait(*args)

    monkeypatch.setattr(watch, "wait_until_converged", wait_and_refuse)
    assert "constraints not satisfied" in failed().problems[0].error
    assert not fake.swarm.refusals, "it was refused"


@pytest.mark.parametrize("how", [{"action": "pause"}, {"first": True}])
def test_what_is_not_to_be_rolled_back_stays(
    fake: FakeEngine, failed: Callable[..., DeployOutcome], how: dict[str, Any]
) -> None:
    outcome = failed(**how)
    assert outcome.reason == "a permanent error" and not rolled_back(fake)
    assert outcome.progress[0].service.update_state == "updating"


def test_what_only_takes_long_stays(fake: FakeEngine, failed: Callable[..., DeployOutcome]) -> None:
    outcome = failed(constraints=[])
    assert outcome.reason == "not converged within 40 s" and not rolled_back(fake)
