"""Commands that change the cluster print what they did as JSON, and nothing else on stdout."""

import json
from typing import Any

import pytest

from openbalena.cli.main import main
from openbalena.operations.build_images import BuildResult, NodeImages, ServiceImage
from openbalena.operations.deploy import DeployResult
from openbalena.operations.rollback import RollbackResult
from openbalena.settings import Settings
from openbalena.settings.values import Value
from openbalena.swarm.releases import Release

LACKING = NodeImages("node2", ("openbalena/haproxy:latest",))
BUILT = BuildResult(
    (ServiceImage("haproxy", "openbalena/haproxy:c-1", built=True),),
    pushed=False,
    nodes=(NodeImages("node1", ()), LACKING),
    failures=("node2: no space",),
)
PRINTED = {
    "images": [{"service": "haproxy", "image": "openbalena/haproxy:c-1", "built": True}],
    "pushed": False,
    "nodes": [
        {"hostname": "node1", "missing": []},
        {"hostname": "node2", "missing": ["openbalena/haproxy:latest"]},
    ],
    "failures": ["node2: no space"],
}
SETTINGS = Settings({"STACK_NAME": Value("ob", "")}, [])
RELEASE = Release(3, "me", "2026-01-01T00:00:00+00:00", "swarm-up")


@pytest.mark.parametrize(
    ("words", "operation", "result", "status", "printed"),
    [
        (["swarm-build"], "build_images.build_images", BUILT, 1, PRINTED),
        (
            ["swarm-up"],
            "deploy.deploy",
            DeployResult(SETTINGS, 12, 4),
            0,
            {"stack": "ob", "converged": 12, "release": 4},
        ),
        (
            ["swarm-up", "--no-wait"],
            "deploy.deploy",
            DeployResult(SETTINGS, None, None),
            0,
            {"stack": "ob", "converged": None, "release": None},
        ),
        (
            ["swarm-rollback", "3", "api"],
            "rollback.roll_back",
            RollbackResult("ob", RELEASE, 5),
            0,
            {"stack": "ob", "release": 3, "service": "api", "recorded": 5},
        ),
    ],
)
def test_results(
    words: list[str],
    operation: str,
    result: Any,
    status: int,
    printed: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(f"openbalena.operations.{operation}", lambda *_: result)
    monkeypatch.setattr("openbalena.cli.commands.CHANGING", set[str]())  # no engine has the record
    assert main([*words, "--json"]) == status
    assert json.loads(capsys.readouterr().out) == printed


def test_a_preview_is_the_stack_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["swarm-up", "--dry-run", "--json"]) == 2
    assert "not allowed with argument" in capsys.readouterr().err
