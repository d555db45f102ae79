"""A certificate by ACME on one machine: when one is asked for, copied into the PKI, and why there is none."""

from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from compose_program import ComposeProgram, workspace_of
from fake_engine import FakeEngine
from hearing import Listener

from openbalena.base.errors import OperationError, UsageError
from openbalena.certificates import cert_manager, on_machine
from openbalena.certificates.on_machine import State
from openbalena.machine.deployment import Standalone
from openbalena.operations.acme_certificate import fetch_certificate, require_acme_settings
from openbalena.operations.machine import load_machine
from openbalena.operations.workspace import Workspace

ACME = {"ACME_EMAIL": "a@example.com", "GANDI_API_TOKEN": "x" * 40}


class CertManager:
    """What it is asked for, and how it ends."""

    def __init__(self) -> None:
        self.state = State(done=True, chain=b"chain", old=False)
        self.waited: tuple[float, ...] = ()
        self.again: list[bool] = []
        self.taken: list[tuple[Path, bytes, str]] = []
        self.differs = True


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> CertManager:
    found = CertManager()

    def wait(standalone: Standalone, *, again: bool, report: Callable[[float], None]) -> State:
        found.again.append(again)
        for seconds in found.waited:
            report(seconds)
        return found.state

    def take(directory: Path, chain: bytes, domain: str) -> bool:
        found.taken.append((directory, chain, domain))
        return found.differs

    monkeypatch.setattr(on_machine, "wait_for_certificate", wait)
    monkeypatch.setattr(cert_manager, "take_certificate", take)
    return found


@pytest.fixture
def machine(fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Workspace, ComposeProgram]:
    compose = "services: {cert-manager: {image: x}}\n"
    found = workspace_of(compose, tmp_path, fake, monkeypatch, **ACME)
    found[1].answer("logs", "one", "the DNS provider refused the token")
    return found


def fetch(machine: tuple[Workspace, ComposeProgram], listener: Listener | None = None, *, retry: bool = False) -> str:
    return fetch_certificate(load_machine(machine[0]), listener or Listener(), retry=retry)


@pytest.mark.parametrize("retry", [True, False])
def test_a_new_certificate_is_copied_into_the_pki(
    retry: bool, machine: tuple[Workspace, ComposeProgram], manager: CertManager
) -> None:
    listener, pki = Listener(), machine[0].project.pki
    assert fetch(machine, listener, retry=retry) == ""
    assert manager.again == [retry] and manager.taken == [(pki, b"chain", "my.example.com")]
    assert len(listener.heard) == 1 and listener.told[0].startswith(f"{pki / 'chain.pem'}: now the certificate that")
    assert machine[1].done == [], "no log is read"


def test_of_the_same_certificate_nothing_is_said(
    machine: tuple[Workspace, ComposeProgram], manager: CertManager
) -> None:
    manager.differs = False
    listener = Listener()
    assert fetch(machine, listener) == "" and listener.heard == []


@pytest.mark.parametrize(
    ("state", "begins", "taken"),
    [
        (
            State(True, b"", False),
            "cert-manager got no certificate through ACME and has given up; the private CA",
            0,
        ),
        (
            State(True, b"old", True),
            "cert-manager got no new certificate through ACME and has given up; the old one",
            1,
        ),
    ],
)
def test_a_failure_is_returned_with_its_reason(
    state: Any, begins: str, taken: int, machine: tuple[Workspace, ComposeProgram], manager: CertManager
) -> None:
    manager.state = state
    why = fetch(machine)
    assert why.startswith(begins) and "the DNS provider refused the token" in why
    assert len(manager.taken) == taken, "an old certificate is copied all the same"
    assert machine[1].done == [f"logs --no-log-prefix --tail {cert_manager.READ} cert-manager"]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (State(False, b"", False), "got no certificate through ACME within 900 s; the private CA's is served instead"),
        (State(False, b"old", True), "got no new certificate through ACME within 900 s; the old one is still served"),
        (State(False, b"new", False), "got no new certificate through ACME within 900 s"),
    ],
)
def test_one_that_does_not_finish_ends_the_command(
    state: Any, words: str, machine: tuple[Workspace, ComposeProgram], manager: CertManager
) -> None:
    manager.state = state
    with pytest.raises(OperationError, match=words):
        fetch(machine)
    assert manager.taken == []


def test_the_wait_is_reported_every_15_seconds(machine: tuple[Workspace, ComposeProgram], manager: CertManager) -> None:
    manager.waited = (0.0, 1.0, 14.9, 15.0, 16.0, 30.0, 30.5)
    manager.differs = False
    listener = Listener()
    fetch(machine, listener)
    assert listener.heard == [f"waiting for cert-manager, {seconds} s of at most 900" for seconds in (0, 15, 30)]


def test_where_the_settings_ask_for_none_nothing_is_done(
    machine: tuple[Workspace, ComposeProgram], manager: CertManager
) -> None:
    env = machine[0].project.env_file
    require_acme_settings(machine[0])
    env.write_text("".join(line for line in env.read_text().splitlines(True) if line.split("=")[0] not in ACME))
    assert fetch(machine, retry=True) == "" and manager.again == [] and manager.taken == []
    with pytest.raises(UsageError, match=r"/\.env: ACME_EMAIL is not set"):
        require_acme_settings(machine[0])


def test_a_custom_certificate_s_ca_comes_first(machine: tuple[Workspace, ComposeProgram], made: Path) -> None:
    env, authority = machine[0].project.env_file, b64encode((made / "pki" / "ca-bundle.pem").read_bytes()).decode()
    env.write_text(f"{env.read_text()}ROOT_CA={authority}\n")
    with pytest.raises(UsageError, match=r"\.env:\d+: ROOT_CA is set, for a custom certificate"):
        require_acme_settings(machine[0])
