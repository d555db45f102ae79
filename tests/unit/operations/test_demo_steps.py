"""demo: the order of its steps, what ends it, and what is removed in the end."""

import re
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hearing import Listener

from openbalena import verify
from openbalena.base.errors import OperationError
from openbalena.base.project import Project
from openbalena.compose import dotenv
from openbalena.lab import lifecycle
from openbalena.operations import demo, upstream_images
from openbalena.operations import deployment as deployment_module
from openbalena.operations.demo import DemoOptions, DemoResult, Steps, deploy_demo, end_demo
from openbalena.operations.workspace import Workspace
from openbalena.swarm.state import Cluster, Node, SwarmService, Task

INGRESS = {"openbalena.ingress": "true"}
NODES = (Node("1", "node1", address="198.18.0.1"), Node("2", "node2", address="198.18.0.2", labels=INGRESS))
SERVICES = (
    SwarmService("a", "ob_api", "ob"),
    SwarmService("r", "ob_registry", "ob"),
    SwarmService("v", "ob_vpn", "ob"),
)
TASKS = tuple(
    Task(f"{service}{node}", service, node, state="running", desired="running") for service in "ar" for node in "12"
)
ORDER = ["lab up", "config", "swarm-init", "swarm-build", "swarm-up", "verify"]
OK = verify.Result(verify.CHECKS[0], "ok", "fine")


class Demo:
    """What was done, in order, and what the steps result in."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.failures: tuple[str, ...] = ()
        self.checks: tuple[verify.Result, ...] = (OK,)
        self.cluster = Cluster(NODES, SERVICES, TASKS)
        self.said: list[str] = []
        self.steps = Steps(self.said.append)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / ".env").write_text("DNS_TLD=open-balena.test\n")
    return Workspace(Project(directory=tmp_path), lab=True)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Demo:
    found = Demo()

    def step(name: str) -> Any:
        return lambda *args, **words: found.done.append(name)

    def build(options: Any, *args: Any) -> Any:
        found.done.append("swarm-build")
        return SimpleNamespace(failures=found.failures)

    def check(options: Any, workspace: Any, reporter: Any, finished: Any) -> Any:
        found.done.append("verify")
        for each in found.checks:
            finished(each)
        return SimpleNamespace(passed=all(each.outcome == "ok" for each in found.checks))

    for owner, name, value in (
        (lifecycle, "up", step("lab up")),
        (lifecycle, "down", step("lab down")),
        (demo, "configure", step("config")),
        (demo, "initialise_swarm", step("swarm-init")),
        (demo, "build_images", build),
        (demo, "deploy", step("swarm-up")),
        (demo, "verify_deployment", check),
        (demo, "_read_cluster", lambda stack: found.cluster),
    ):
        monkeypatch.setattr(owner, name, value)
    return found


def deployed(run: Demo, workspace: Workspace, **options: Any) -> DemoResult:
    return deploy_demo(DemoOptions(**options), workspace, Listener(), run.steps)


def test_the_steps_and_where_the_services_run(run: Demo, workspace: Workspace) -> None:
    result = deployed(run, workspace)
    assert run.done == ORDER
    assert result == DemoResult((("api", "node1, node2"), ("registry", "node1, node2"), ("vpn", "-")), "198.18.0.2")
    assert any("images are stand-ins" in text for text in run.said)
    width = max(len(check.name) for check in verify.CHECKS)
    assert OK.line(width) in run.said and run.said[-1].endswith("] openBalena is running, and every check passed.")
    assert "ok    spread          api on node1, node2; registry on node1, node2" in run.said


@pytest.mark.parametrize("failing", ["swarm-build", "verify", "spread"])
def test_a_step_that_fails_ends_it_and_is_named(failing: str, run: Demo, workspace: Workspace) -> None:
    if failing == "swarm-build":
        run.failures = ("node1 lacks a", "node2 lacks b")
        message, step = "not every node has its images:\n  node1 lacks a\n  node2 lacks b", "Building images"
    elif failing == "verify":
        run.checks = (OK, verify.Result(verify.CHECKS[1], "FAIL", "why"))
        message, step = "a check failed", "Checking the deployment"
    else:
        run.cluster = Cluster(NODES, SERVICES, TASKS[:3])
        message, step = "registry runs on node1, expected 2 tasks on 2 nodes", "Checking where the tasks run"
    with pytest.raises(OperationError, match=message):
        deployed(run, workspace)
    assert run.done == ORDER[: ORDER.index(failing) + 1 if failing in ORDER else len(ORDER)]
    assert step in run.steps.where


def test_openbalena_s_own_images_are_named_in_its_settings(
    run: Demo, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copy(deployment: Any, source: Any, targets: Any, report: Any) -> dict[str, str]:
        run.done.append(f"copy {deployment} from {source.name} to {targets}")
        return {"API_IMAGE": "original/api:1", "DB_IMAGE": "original/db:1"}

    engines = {False: SimpleNamespace(name="here"), True: SimpleNamespace(nodes=("node1", "node2"))}
    monkeypatch.setattr(deployment_module, "load", lambda project, lab: f"that without the lab's files: {not lab}")
    monkeypatch.setattr(demo, "default_engine", lambda lab: engines[lab])
    monkeypatch.setattr(upstream_images, "copy_to", copy)
    deployed(run, workspace, real_images=True)
    assert run.done[2] == "copy that without the lab's files: True from here to ['node1', 'node2']"
    values = dotenv.read_file(workspace.project.env_file).values
    assert values == {"DNS_TLD": "open-balena.test", "API_IMAGE": "original/api:1", "DB_IMAGE": "original/db:1"}
    assert workspace.project.env_file.stat().st_mode & 0o777 == 0o600
    assert not any("images are stand-ins" in text for text in run.said)

    def fail(*args: Any) -> None:
        raise OperationError("api:1 cannot be pulled")

    monkeypatch.setattr(upstream_images, "copy_to", fail)
    with pytest.raises(
        OperationError, match=r"^api:1 cannot be pulled\. Without --real-images the demo uses stand-ins\.$"
    ):
        deployed(run, workspace, real_images=True)


@pytest.mark.parametrize("keep", [True, False])
def test_the_lab_is_removed_unless_it_is_kept(keep: bool, run: Demo, workspace: Workspace) -> None:
    listener = Listener()
    end_demo(workspace, listener, run.steps, keep=keep)
    assert run.done == ([] if keep else ["lab down"]) and listener.heard == []
    assert len(run.said) == (1 if keep else 2) and ("lab down" in run.said[0]) is keep


def test_a_lab_that_is_not_removed_is_named(run: Demo, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def down() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(lifecycle, "down", down)
    listener = Listener()
    with pytest.raises(KeyboardInterrupt):
        end_demo(workspace, listener, run.steps, keep=False)
    assert len(listener.warnings) == 1 and listener.warnings[0].endswith("lab down")
    assert len(run.said) == 1


def test_seconds_since_its_start_are_shown() -> None:
    said: list[str] = []
    steps = Steps(said.append, _started=time.monotonic() - 75.2)
    steps.announce("text")
    assert re.fullmatch(r"\[  7[5-9] s\] text", said[0])
