"""swarm-scale: what is refused, asked and done."""

from pathlib import Path

import pytest
from fake_engine import FakeEngine
from fake_swarm import Row, stack_service
from hearing import Listener, workspace_on

from openbalena.base.errors import OperationError
from openbalena.operations.scale_services import ScaleOptions, scale_services
from openbalena.operations.workspace import Workspace


@pytest.fixture
def workspace(fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    fake.swarm.node("node1", "manager")
    fake.swarm.create("services", stack_service("api"))
    fake.swarm.create("services", stack_service("web"))
    return workspace_on(fake, tmp_path, monkeypatch)


def scale(workspace: Workspace, listener: Listener, **numbers: int) -> None:
    scale_services(ScaleOptions(numbers, timeout=30), workspace, listener)


def replicas(fake: FakeEngine, name: str) -> int:
    found: int = fake.swarm.named("services", name)["Spec"]["Mode"]["Replicated"]["Replicas"]
    return found


def test_services_are_scaled_and_waited_for(workspace: Workspace, fake: FakeEngine) -> None:
    scale(workspace, Listener(), api=3, web=2)
    assert (replicas(fake, "ob_api"), replicas(fake, "ob_web")) == (3, 2)


def test_what_cannot_be_is_refused_and_nothing_is_scaled(workspace: Workspace, fake: FakeEngine) -> None:
    with pytest.raises(OperationError, match="^nothing was scaled:\n  there is no service db: the stack has api, web$"):
        scale(workspace, Listener(), api=3, db=1)
    assert replicas(fake, "ob_api") == 1


@pytest.mark.parametrize("agrees", [True, False])
def test_the_last_task_is_stopped_after_a_question(agrees: bool, workspace: Workspace, fake: FakeEngine) -> None:
    listener = Listener(agrees=agrees)
    if agrees:
        scale(workspace, listener, web=0)
    else:
        with pytest.raises(OperationError, match="nothing was scaled"):
            scale(workspace, listener, web=0)
    assert listener.questions == ["Stop every task of web?"] and replicas(fake, "ob_web") == (0 if agrees else 1)


def test_tasks_that_do_not_run_are_reported(workspace: Workspace, fake: FakeEngine) -> None:
    fake.swarm.fates["ob_api"] = [[Row(0, "starting")]] * 4
    with pytest.raises(OperationError, match="not converged within 30 s\n  api: 1 of 2 tasks running; starting"):
        scale(workspace, Listener(), api=2)
