"""verify: which deployment is checked, at which addresses and with what, and what its results mean."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine
from fake_swarm import stack_service
from hearing import Listener

from openbalena import lab, verify
from openbalena.base.errors import UsageError
from openbalena.base.project import Project
from openbalena.lab.endpoint import Endpoint
from openbalena.lab.state import LabNode
from openbalena.operations import engines
from openbalena.operations import verify as operation
from openbalena.operations.verify import (
    VerifyOptions,
    VerifyResult,
    public_addresses,
    verification_target,
    verify_deployment,
)
from openbalena.operations.workspace import Workspace
from openbalena.pki import expiry
from openbalena.verify import CheckError, SkipCheckError, Target

DOMAIN = "my.example.com"
DNS = ("192.0.2.1", "192.0.2.2")


@pytest.fixture(autouse=True)
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that are looked up: each has two addresses."""
    names: list[str] = []

    def lookup(host: str) -> tuple[str, ...]:
        names.append(host)
        return DNS

    monkeypatch.setattr(operation, "lookup", lookup)
    return names


@pytest.fixture
def workspace(project: Project) -> Workspace:
    return Workspace(project, lab=False)


def target(workspace: Workspace, **options: Any) -> Target:
    return verification_target(VerifyOptions(**options), workspace, lambda text: None)


def failing(target: Target) -> str:
    raise CheckError("why", "what to do")


def skipped(target: Target) -> str:
    raise SkipCheckError("not here")


def reporting(target: Target) -> str:
    target.report(f"checking {target.addresses[0]}")
    return "fine"


def check(name: str, run: Callable[[Target], str]) -> verify.Check:
    return verify.Check(name, f"{name} asserts", run)


def test_each_check_is_told_of_as_it_ends(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    listener = Listener()
    checks = (check("a", reporting), check("b", failing), check("c", skipped))
    monkeypatch.setattr(verify, "CHECKS", checks)
    told: list[str] = []
    result = verify_deployment(VerifyOptions(), workspace, listener, lambda one: told.append(one.check.name))
    assert told == ["a", "b", "c"] == [one.check.name for one in result.checks]
    assert [one.outcome for one in result.checks] == ["ok", "FAIL", "skip"]
    assert listener.heard == ["checking 192.0.2.1"]


@pytest.mark.parametrize(
    ("outcomes", "passed"),
    [([], True), (["ok", "skip"], True), (["skip"], True), (["FAIL"], False), (["ok", "FAIL"], False)],
)
def test_it_passes_unless_a_check_failed(outcomes: list[Any], passed: bool) -> None:
    results = tuple(verify.Result(check("a", failing), outcome, "") for outcome in outcomes)
    assert VerifyResult(results).passed is passed


def test_warnings_come_before_the_checks(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    listener = Listener()
    monkeypatch.setattr(verify, "CHECKS", (check("a", reporting),))
    monkeypatch.setattr(expiry, "warnings", lambda directory: [f"{directory.name} expires"])
    key, other = (workspace.project.pki / name for name in ("api.key", "vpn.key"))
    key.write_bytes(other.read_bytes())
    with workspace.project.env_file.open("a") as file:
        file.write("SUPERUSER_EMAL=x\n")
    verify_deployment(VerifyOptions(), workspace, listener, lambda one: None)
    assert len(listener.heard) >= 4 and listener.told == listener.heard[-1:] == ["checking 192.0.2.1"]
    assert "SUPERUSER_EMAL" in listener.warnings[0] and "api.key" in "".join(listener.warnings[1:-1])
    assert listener.warnings[-1] == "pki expires"


def test_without_settings_nothing_is_checked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.env does not exist"):
        target(Workspace(Project(directory=tmp_path), lab=False))


def test_the_settings_and_the_pki_are_what_is_checked_with(workspace: Workspace, looked_up: list[str]) -> None:
    found, pki = target(workspace), workspace.project.pki
    assert (found.dns_tld, found.addresses, found.looked_up) == (DOMAIN, DNS, True)
    assert looked_up == [f"api.{DOMAIN}"]
    bundle = (pki / "ca-bundle.pem").read_text()
    assert (found.authority, found.vpn_authority) == (bundle, bundle)
    assert found.value("SUPERUSER_PASSWORD") and found.value("DNS_TLD") == DOMAIN
    assert found.profiles == found.values["COMPOSE_PROFILES"].split(",") and "internal-postgres" in found.profiles
    (pki / "ca-bundle.pem").unlink()
    assert target(workspace).vpn_authority == ""


def test_addresses_that_are_given_are_not_looked_up(workspace: Workspace, looked_up: list[str]) -> None:
    found = target(workspace, addresses=("203.0.113.1",))
    assert (found.addresses, found.looked_up, looked_up) == (("203.0.113.1",), False, [])


def test_a_name_that_does_not_resolve_has_no_address(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def lookup(host: str) -> tuple[str, ...]:
        raise OSError("no such host")

    monkeypatch.setattr(operation, "lookup", lookup)
    assert public_addresses(workspace, "api.example.com") == ()
    assert target(workspace).looked_up


@pytest.fixture
def in_lab(workspace: Workspace, fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A lab of two nodes, of which the first is the fake engine."""
    nodes = [
        LabNode("node1", "198.18.0.1", Path(fake.url.removeprefix("unix://")), manager=True),
        LabNode("node2", "198.18.0.2", tmp_path / "none.sock", manager=False),
    ]
    found = Endpoint(fake.url, tmp_path / "bin" / "docker", nodes)
    monkeypatch.setattr(lab, "endpoint", lambda: found)
    monkeypatch.setattr(engines, "endpoint", lambda: found)
    return replace(workspace, lab=True)


def test_in_the_lab_the_ingress_nodes_answer(in_lab: Workspace, fake: FakeEngine, looked_up: list[str]) -> None:
    fake.swarm.node("node2", **{"openbalena.ingress": "true"})
    fake.swarm.node("node3")
    fake.swarm.create("services", stack_service("api", "openbalena"))
    found = target(in_lab)
    assert found.addresses == ("10.9.0.1", "10.9.0.2") and not found.looked_up and looked_up == []


def test_in_the_lab_without_a_stack_the_node_of_docker_compose_answers(in_lab: Workspace, fake: FakeEngine) -> None:
    fake.swarm.create("services", stack_service("api", "other"))
    assert target(in_lab).addresses == ("198.18.0.1",)


def test_the_openvpn_program(
    workspace: Workspace, in_lab: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "programs").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "programs"))
    assert target(workspace).openvpn is None
    with pytest.raises(UsageError, match="^--openvpn mine: no such program$"):
        target(workspace, openvpn="mine")
    for name in ("openvpn", "mine"):
        program = tmp_path / "programs" / name
        program.touch()
        program.chmod(0o755)
    assert target(workspace).openvpn == tmp_path / "programs" / "openvpn"
    assert target(workspace, openvpn="mine").openvpn == tmp_path / "programs" / "mine"
    assert target(in_lab, openvpn="mine").openvpn == tmp_path / "programs" / "mine"
    assert target(in_lab).openvpn == tmp_path / "bin" / "openvpn"


def test_expired_certificates_do_not_count_as_inconsistent(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def problems(directory: Path, domain: str, *, ended: bool) -> list[str]:
        asked.append(ended)
        return []

    monkeypatch.setattr(operation, "pki_problems", problems)
    monkeypatch.setattr(verify, "CHECKS", ())
    assert verify_deployment(VerifyOptions(), workspace, Listener(), lambda one: None).checks == ()
    assert asked == [False]
