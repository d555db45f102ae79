"""pki renew: what is renewed, and when cert-manager is restarted for it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hearing import Listener

from openbalena.base.errors import OperationError
from openbalena.base.project import Project
from openbalena.operations import renew
from openbalena.operations.machine_services import HealthyResult
from openbalena.operations.renew import RenewOptions, renew_certificates
from openbalena.operations.workspace import Workspace
from openbalena.pki import renew as pki_renew
from openbalena.pki import store
from openbalena.settings.variables import variables

HEALTHY = HealthyResult("p", ("cert-manager",), every=False)


def served(chain: bytes, *, private: bool = True) -> Any:
    end = datetime.now(UTC) + timedelta(days=3)
    return SimpleNamespace(chain=chain, private=private, volume="v", held=SimpleNamespace(end=end, days=lambda now: 3))


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    for name in variables():
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".env").write_text("DNS_TLD=my.example.com\n")
    return Workspace(Project(directory=tmp_path), lab=False)


def renewed(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, *chains: Any, only_due: bool = False, due: bool = True,
    own: bool = True, error: str = "",
) -> tuple[renew.RenewResult, bool, Listener]:  # fmt: skip
    """The result where HAProxy serves `chains`, one after the other; and whether only what is due was renewed."""
    asked: list[bool] = []
    answers = iter(chains)

    def files(directory: Path, domain: str, *, only_due: bool) -> list[str]:
        asked.append(only_due)
        return ["api.pem"]

    def restart(options: Any, *args: Any) -> HealthyResult:
        assert options.services == ("cert-manager",)
        if error:
            raise OperationError(error)
        return HEALTHY

    monkeypatch.setattr(renew, "served_certificate", lambda *args: next(answers))
    monkeypatch.setattr(pki_renew, "renew_certificates", files)
    monkeypatch.setattr(store, "serves_own", lambda directory: own)
    monkeypatch.setattr(renew, "renewal_due", lambda chain, now: due)
    monkeypatch.setattr(renew, "restart_services", restart)
    listener = Listener()
    result = renew_certificates(RenewOptions(only_due=only_due), workspace, listener)
    assert result.files == ("api.pem",)
    return result, asked[0], listener


@pytest.mark.parametrize("only_due", [True, False])
@pytest.mark.parametrize("own", [True, False])
def test_in_a_cluster(only_due: bool, own: bool, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    result, due, listener = renewed(workspace, monkeypatch, None, only_due=only_due, own=own)
    assert result.machine is None and due is only_due and len(listener.warnings) == (not own)


@pytest.mark.parametrize(("private", "due"), [(True, False), (False, True)])
def test_a_certificate_that_cert_manager_would_not_renew(
    private: bool, due: bool, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = served(b"old", private=private)
    result, only_due, listener = renewed(workspace, monkeypatch, before, due=due, own=False)
    assert result.machine == renew.MachineRenewal(before) and only_due and listener.warnings == []


@pytest.mark.parametrize(("after", "fails"), [(served(b"new"), False), (served(b"old"), True), (None, True)])
def test_a_certificate_that_cert_manager_is_to_renew(
    after: Any, fails: bool, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = served(b"old")
    machine = renewed(workspace, monkeypatch, before, after)[0].machine
    assert machine is not None and machine.before is before and machine.restarted is HEALTHY
    assert (machine.failure is not None) is fails and machine.after is (None if fails else after)


def test_a_restart_that_fails(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = renewed(workspace, monkeypatch, served(b"old"), error="not healthy")[0].machine
    assert machine is not None and machine.restarted is None and str(machine.failure) == "not healthy"
