"""doctor --fix: what is offered, asked, done, and refused because it changed meanwhile."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine
from fake_swarm import RefusedError, stack_service
from hearing import Listener, workspace_on

from openbalena.base.errors import OperationError
from openbalena.cli.main import main
from openbalena.doctor.findings import Fix, FixKind
from openbalena.operations.doctor import examine
from openbalena.operations.doctor_fix import apply_fix, offered_fixes
from openbalena.operations.workspace import Workspace
from openbalena.storage import record

UNUSED, OTHER = "ob_api-env-0123456789ab", "ob_vpn-env-0123456789ab"


@pytest.fixture
def workspace(fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    fake.swarm.node("node1", "manager")
    return workspace_on(fake, tmp_path, monkeypatch)


def secret(fake: FakeEngine, name: str) -> None:
    fake.swarm.create("secrets", {"Name": name, "Data": "eA=="})


def left_and_joined(fake: FakeEngine, role: str = "worker") -> None:
    """node2 left the swarm and joined it again: `id-old` is its previous membership."""
    old = fake.swarm.node("node2", role)
    old |= {"ID": "id-old", "Status": {**old["Status"], "State": "down"}}
    fake.swarm.nodes["id-old"] = fake.swarm.nodes.pop("id-node2")
    fake.swarm.node("node2", role)["Status"]["Addr"] = old["Status"]["Addr"]


def offered(workspace: Workspace, kind: FixKind) -> Fix:
    (found,) = [fix for fix in offered_fixes(examine(workspace, None).findings) if fix.kind is kind]
    return found


def fix(workspace: Workspace, *options: str) -> int:
    return main(["--project-directory", str(workspace.project.directory), "doctor", "--fix", *options])


def test_what_is_named_is_done_and_the_cluster_examined_again(
    workspace: Workspace, fake: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    secret(fake, UNUSED)
    left_and_joined(fake)
    assert fix(workspace, "--yes") == 1, "nothing is deployed: no node can be checked"
    shown = capsys.readouterr()
    before, after = shown.out.split("doctor --fix would:")
    assert "unused-" in before and "listed, id-old" not in before and "previous membership id-old" in before
    assert f"  - remove {UNUSED}, which no service uses" in after
    assert "  - remove the previous membership id-old of node2 (10.9.0.2) from the list of nodes" in after
    assert "unused-" not in after and "[nodes-" in after, "it was examined again"
    assert not fake.swarm.secrets and fake.swarm.nodes.keys() == {"id-node1", "id-node2"}
    assert [each["Spec"]["Name"] for each in fake.swarm.configs.values()] == ["openbalena-audit-ob"]


def test_without_a_terminal_or_agreement_nothing_is_done(
    workspace: Workspace, fake: FakeEngine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    secret(fake, UNUSED)
    assert fix(workspace) == 2
    shown = capsys.readouterr()
    assert "remove ob_api-env" in shown.out and "pass --yes" in shown.err
    monkeypatch.setattr("openbalena.cli.console.Console.confirm", lambda *args: False)
    assert fix(workspace) == 1 and "nothing was changed" in capsys.readouterr().err
    assert len(fake.swarm.secrets) == 1


def test_what_it_cannot_fix_is_left(workspace: Workspace, fake: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    assert fix(workspace, "--yes") == 1
    assert capsys.readouterr().out.endswith("doctor --fix can do nothing about this.\n")
    assert [each for each in fake.swarm.asked if "/configs" not in each] == [], "only its lock"


def test_yes_agrees_to_no_more_than_was_named(workspace: Workspace, fake: FakeEngine) -> None:
    secret(fake, UNUSED)
    named = offered(workspace, FixKind.REMOVE_UNUSED)
    secret(fake, OTHER)
    apply_fix(named, workspace, Listener(), 10)
    assert [each["Spec"]["Name"] for each in fake.swarm.secrets.values()] == [OTHER]


def test_a_secret_that_is_used_meanwhile_is_kept(workspace: Workspace, fake: FakeEngine) -> None:
    secret(fake, UNUSED)
    named = offered(workspace, FixKind.REMOVE_UNUSED)
    fake.swarm.create("services", stack_service("api", secrets=list(fake.swarm.secrets.values())))
    apply_fix(named, workspace, Listener(), 10)
    assert len(fake.swarm.secrets) == 1


def test_a_node_with_the_name_of_another_machine_is_kept(workspace: Workspace, fake: FakeEngine) -> None:
    left_and_joined(fake)
    fake.swarm.nodes["id-node2"]["Status"]["Addr"] = "10.9.0.77"
    assert offered_fixes(examine(workspace, None).findings) == []


def test_a_node_that_came_back_meanwhile_is_kept(workspace: Workspace, fake: FakeEngine) -> None:
    left_and_joined(fake)
    named = offered(workspace, FixKind.REMOVE_NODE_RECORD)
    fake.swarm.nodes["id-old"]["Status"]["State"] = "ready"
    with pytest.raises(OperationError, match="^id-old is not a previous membership of node2 any more: it was kept$"):
        apply_fix(named, workspace, Listener(), 10)
    assert "id-old" in fake.swarm.nodes
    del fake.swarm.nodes["id-old"]
    apply_fix(named, workspace, Listener(), 10)


def test_a_record_with_data_is_kept(workspace: Workspace, fake: FakeEngine) -> None:
    left_and_joined(fake)
    with fake.engine.client() as client:
        place = record.VolumeLocation("id-old", "node2")
        record.write_registry(client, "ob", record.VolumeRegistry({"db": place}))
    with pytest.raises(OperationError, match="node2 cannot be removed:\n  it has the data of db"):
        apply_fix(offered(workspace, FixKind.REMOVE_NODE_RECORD), workspace, Listener(), 10)
    assert "id-old" in fake.swarm.nodes


def test_a_manager_is_demoted_first_and_removed_once_that_is_done(workspace: Workspace, fake: FakeEngine) -> None:
    left_and_joined(fake, "manager")
    named = offered(workspace, FixKind.REMOVE_NODE_RECORD)
    fake.swarm.refusals.append(("DELETE", "/nodes", RefusedError(400, "It must be demoted to worker before removal")))
    apply_fix(named, workspace, Listener(), 10)
    assert "id-old" not in fake.swarm.nodes
    assert [each for each in fake.swarm.asked if "nodes" in each] == [
        *("POST /nodes/id-old/update", "DELETE /nodes/id-old", "DELETE /nodes/id-old")
    ]


def test_a_failure_is_reported_and_the_rest_is_done(
    workspace: Workspace, fake: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    secret(fake, UNUSED)
    left_and_joined(fake)
    fake.swarm.refusals += [("DELETE", "/nodes", RefusedError(400, "no such luck"))] * 100
    assert fix(workspace, "--yes") == 1
    assert "no such luck" in capsys.readouterr().err and not fake.swarm.secrets


def test_named_services_alone_are_rebalanced(workspace: Workspace, fake: FakeEngine) -> None:
    for name in ("api", "web"):
        spec = stack_service(name, replicas=2)
        fake.swarm.create("services", {**spec, "UpdateConfig": {"Order": "start-first"}})
    fake.swarm.node("node2")
    named = [each for each in offered_fixes(examine(workspace, None).findings) if each.kind is FixKind.REBALANCE]
    assert [each.targets for each in named] == [("api",), ("web",)]
    apply_fix(named[0], workspace, Listener(), 30)
    (left,) = [each for each in offered_fixes(examine(workspace, None).findings) if each.kind is FixKind.REBALANCE]
    assert left == named[1]


def reports(loaded: list[str]) -> Callable[[dict[str, Any]], list[str]]:
    """What the task of doctor prints, with the modules that are loaded by then."""
    lines = ["now 1", "kernel 6.1.0", "disk 100 40", "memory 8", "available 4", "cgroup 2"]
    return lambda spec: [*lines, *(f"module {name}" for name in loaded), "openbalena-job-end"]


def test_a_kernel_module_is_loaded_by_the_programs_of_the_node(workspace: Workspace, fake: FakeEngine) -> None:
    with workspace.project.env_file.open("a") as file:
        file.write("INGRESS_MODE=mesh\n")
    fake.swarm.create("services", stack_service("api"))
    loaded: list[str] = []
    fake.swarm.logs["openbalena-doctor"] = reports(loaded)
    fake.swarm.logs["openbalena-load-module"] = lambda spec: loaded.append("ip_vs") or ["openbalena-job-end"]  # type: ignore[func-returns-value]
    named = offered(workspace, FixKind.LOAD_MODULE)
    assert named.text.startswith("load the kernel module ip_vs on node1; then you restart Docker there")
    apply_fix(named, workspace, Listener(), 10)
    container = fake.swarm.created[-1]["TaskTemplate"]["ContainerSpec"]
    assert "chroot /host modprobe ip_vs" in container["Args"][1]
    (mount,) = container["Mounts"]
    assert (mount["Type"], mount["Source"], mount["Target"], mount["ReadOnly"]) == ("bind", "/", "/host", True)
    assert container["CapabilityAdd"] == ["CAP_SYS_MODULE"]
    assert not offered_fixes(examine(workspace, None).findings)
