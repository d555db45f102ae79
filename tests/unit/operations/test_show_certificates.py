"""pki show: which certificates are listed, where HAProxy's comes from, and what limits and endangers them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_engine import FakeEngine, archive
from hearing import Listener

from openbalena.base.errors import UsageError
from openbalena.base.project import Project
from openbalena.operations import show_certificates as operation
from openbalena.operations.engines import installed_engine
from openbalena.operations.served_certificate import served_certificate
from openbalena.operations.show_certificates import (
    certificate_limits,
    certificate_warnings,
    show_certificates,
)
from openbalena.operations.workspace import Workspace
from openbalena.pki import expiry
from openbalena.pki.expiry import list_certificates
from openbalena.pki.phases import RotationPhase

DOMAIN, CHAIN = "my.example.com", "/certs/export/chain.pem"


@pytest.fixture
def workspace(project: Project) -> Workspace:
    return Workspace(project, lab=False)


def served(fake: FakeEngine, workspace: Workspace) -> None:
    """HAProxy runs on this machine and reads a copy of the project's file."""
    labels = {"com.docker.compose.project": "project", "com.docker.compose.service": "haproxy"}
    fake.container("project-haproxy-1", labels)
    fake.archives[CHAIN] = archive(("chain.pem", (workspace.project.pki / "chain.pem").read_bytes()))


def test_in_a_cluster_the_files_are_listed(workspace: Workspace) -> None:
    listener, pki = Listener(), workspace.project.pki
    found = show_certificates(workspace, listener)
    assert (found.domain, found.directory, found.machine, found.own_certificate) == (DOMAIN, pki, None, True)
    assert [(each.file, each.name, each.use) for each in found.certificates] == [
        (str(item.path), item.path.name, item.use) for item in list_certificates(pki)
    ]
    assert all(each.certificate.path == Path(each.file) for each in found.certificates)
    assert found.phase is RotationPhase.NONE and listener.heard == []


def test_what_haproxy_on_this_machine_serves_comes_first(workspace: Workspace, fake: FakeEngine) -> None:
    served(fake, workspace)
    found = show_certificates(workspace, Listener())
    first, second = found.certificates[:2]
    assert (first.file, first.name) == (f"project_certs-data:{CHAIN}", "project_certs-data")
    assert first.use == "HAProxy on this machine: every public name" and second.file.startswith("/")
    assert found.machine and first.certificate is found.machine.held
    assert len(found.certificates) == len(list_certificates(workspace.project.pki)) + 1


def test_an_engine_that_does_not_answer_is_a_warning(workspace: Workspace, fake: FakeEngine) -> None:
    fake.refused = "not today"
    listener = Listener()
    assert show_certificates(workspace, listener).machine is None
    assert len(listener.heard) == 1 and "could not determine whether HAProxy on this machine" in listener.warnings[0]
    assert "not today" in listener.warnings[0]


def test_a_machine_without_an_engine_serves_nothing(
    workspace: Workspace, fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openbalena.operations.served_certificate.installed_engine", lambda lab: None)
    served(fake, workspace)
    assert served_certificate(workspace, SimpleNamespace(), Listener()) is None  # type: ignore[arg-type]


def test_a_custom_certificate_is_not_its_own(workspace: Workspace, tmp_path: Path) -> None:
    from openbalena.pki import store

    store.ensure_files(tmp_path / "other", DOMAIN)
    (workspace.project.pki / "chain.pem").write_bytes((tmp_path / "other" / "chain.pem").read_bytes())
    assert not show_certificates(workspace, Listener()).own_certificate


def test_without_a_certificate_config_is_named(workspace: Workspace) -> None:
    for path in workspace.project.pki.iterdir():
        path.unlink()
    with pytest.raises(UsageError, match=r"/pki: no certificate found: run \./open-balena\.sh config$"):
        show_certificates(workspace, Listener())


def test_the_domains_that_the_server_ca_may_issue_for(workspace: Workspace, tmp_path: Path) -> None:
    assert certificate_limits(tmp_path, DOMAIN) == ""
    found = certificate_limits(workspace.project.pki, DOMAIN)
    assert found == f"server-ca-0.pem may issue only for {DOMAIN} and its subdomains."


def test_warnings_name_what_is_wrong_and_then_what_expires(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def problems(*args: Any, ended: bool) -> list[str]:
        asked.append((*args, ended))
        return ["wrong"]

    monkeypatch.setattr(operation, "pki_problems", problems)
    monkeypatch.setattr(expiry, "warnings", lambda directory: [f"{directory.name} expires"])
    assert certificate_warnings(workspace.project.pki, DOMAIN) == ["wrong", "pki expires"]
    assert asked == [(workspace.project.pki, DOMAIN, False)], "what has expired is a warning, not a problem"


@pytest.mark.parametrize("variable", ["DOCKER_HOST", "DOCKER_CONTEXT", ""])
@pytest.mark.parametrize("here", [True, False])
def test_an_engine_is_installed_where_one_is_named_or_has_its_socket_or_data(
    variable: str, here: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, "x")
    (tmp_path / "there").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    paths = ("_SOCKET", "_DATA")
    for one in paths:
        for name in paths:
            monkeypatch.setattr(
                f"openbalena.operations.engines.{name}", tmp_path / ("there" if here and name == one else "no")
            )
        found = installed_engine(lab=False)
        assert (found is not None) is bool(variable or here)
        assert found is None or bool(found.host) is not bool(variable)


def test_a_lab_is_an_engine_once_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    lab: Any = SimpleNamespace()
    monkeypatch.setattr("openbalena.operations.engines.default_engine", lambda asked: lab if asked else None)
    for made in (None, SimpleNamespace()):
        monkeypatch.setattr("openbalena.lab.state.load_lab", lambda made=made: made)
        assert installed_engine(lab=True) is (lab if made else None)
