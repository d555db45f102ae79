"""pki sync: the steps that depend on who issues and who serves the certificate."""

from base64 import b64encode
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_engine import FakeEngine
from fake_swarm import stack_service
from hearing import Listener

from openbalena.base.errors import OperationError
from openbalena.base.project import Project
from openbalena.certificates import on_swarm
from openbalena.operations import pki_sync, settings_sync
from openbalena.operations.endpoints import Endpoints
from openbalena.operations.pki_sync import (
    SyncCertificateOptions,
    SyncCertificateResult,
    serving_failure,
    sync_certificate,
)
from openbalena.operations.workspace import Workspace
from openbalena.pki import store
from openbalena.swarm import certificate_rollout, deploy, deployed_pki, service_update
from openbalena.swarm.certificate_rollout import SERVES_OTHER_CERTIFICATE

STACK, DOMAIN = "openbalena", "my.example.com"
ADDRESS = "192.0.2.1"


class Cluster:
    """What was done in it, in order; `chains` are what cert-manager has, one after the other."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.failures: dict[str, str] = {}
        self.outdated: dict[str, list[str]] = {}
        self.chains: list[bytes] = []


@pytest.fixture
def cluster(project: Project, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """One whose services trust the project's CA."""
    found = Cluster()

    def step(name: str, result: Any = None) -> Any:
        def done(*args: Any, **words: Any) -> Any:
            found.done.append(name)
            return result

        return done

    def fetch(*args: Any) -> bytes:
        found.done.append("fetch")
        return found.chains.pop(0)

    def endpoints(client: Any, values: Any, chain: bytes) -> Endpoints:
        return Endpoints({ADDRESS: "node1"}, found.failures)

    authority = b64encode((project.pki / "ca-bundle.pem").read_bytes()).decode()
    fake.swarm.create("services", stack_service("api", STACK, Env=[f"ROOT_CA={authority}"]))
    for owner, name, value in (
        (settings_sync, "require_compatible_settings", step("compatible")),
        (settings_sync, "upload", step("store settings")),
        (certificate_rollout, "announce_certificate", step("announce", True)),
        (certificate_rollout, "publish_certificate", step("publish", True)),
        (service_update, "wait_until_converged", lambda *args: found.done.append(f"wait for {args[2]}")),
        (deploy, "remove_unused", step("prune")),
        (deployed_pki, "outdated_contents", lambda *args: found.outdated),
        (on_swarm, "fetch_certificate", fetch),
        (on_swarm, "request_renewal", step("renew")),
        (on_swarm, "last_words", lambda *args: "its last words"),
        (pki_sync, "take_certificate", lambda directory, chain, domain: chain != b"same"),
        (pki_sync, "renewal_due", lambda chain, now: chain.startswith(b"old")),
        (pki_sync, "cluster_endpoints", endpoints),
        (pki_sync, "served_certificate", lambda *args: None),
    ):
        monkeypatch.setattr(owner, name, value)
    return found


def sync(project: Project, listener: Listener | None = None) -> SyncCertificateResult:
    return sync_certificate(SyncCertificateOptions(timeout=60), Workspace(project, lab=False), listener or Listener())


OWN = ["announce", "wait for balena-ca"]
REST = ["publish", "wait for haproxy-certs", "prune"]


def test_the_steps_of_the_private_ca_s_certificate(project: Project, cluster: Cluster) -> None:
    listener = Listener()
    result = sync(project, listener)
    assert cluster.done == ["compatible", "store settings", *OWN, *REST]
    assert result == SyncCertificateResult(Endpoints({ADDRESS: "node1"}, {}), True, None, "")
    assert [text.partition(" ")[0] for text in listener.heard] == ["waiting", "waiting"]


def test_an_older_file_of_a_service_is_a_warning_unless_another_certificate_is_served(
    project: Project, cluster: Cluster
) -> None:
    cluster.outdated = {"api-certificate": ["api"]}
    listener = Listener()
    sync(project, listener)
    (warning,) = listener.warnings
    assert warning.startswith("the services still use an older api.pem: run ./open-balena.sh swarm-up")
    cluster.failures = {ADDRESS: SERVES_OTHER_CERTIFICATE}
    result = sync(project, listener := Listener())
    assert result.failure.startswith(f"node1: {SERVES_OTHER_CERTIFICATE}") and listener.warnings == []


@pytest.fixture
def acme(project: Project) -> None:
    with project.env_file.open("a") as file:
        file.write(f"ACME_EMAIL=a@example.com\nGANDI_API_TOKEN={'x' * 40}\n")


@pytest.mark.parametrize(
    ("chains", "steps", "said"),
    [
        ([b"new"], ["fetch"], ["reading", "chain.pem: copied from cert-manager"]),
        ([b"same"], ["fetch"], ["reading"]),
        ([b"old", b"new"], ["fetch", "renew", "fetch"], ["reading", "expires within a week", "copied from"]),
    ],
)
def test_cert_manager_s_certificate_is_copied_first(
    chains: list[bytes], steps: list[str], said: list[str], project: Project, cluster: Cluster, acme: None
) -> None:
    cluster.chains = chains
    listener = Listener()
    sync(project, listener)
    assert cluster.done[: len(steps) + 2] == ["compatible", *steps, "store settings"]
    assert all(word in text for word, text in zip(said, listener.told, strict=False))
    assert len(listener.told) == len(said) + 2


def test_a_certificate_that_cert_manager_did_not_renew_is_not_brought(
    project: Project, cluster: Cluster, acme: None
) -> None:
    cluster.chains = [b"old", b"old"]
    with pytest.raises(OperationError, match="did not renew its certificate; .* its last words"):
        sync(project)
    assert cluster.done == ["compatible", "fetch", "renew", "fetch"]


def test_public_cas_are_trusted_where_the_stack_has_no_private_one(
    project: Project, cluster: Cluster, fake: FakeEngine, tmp_path: Path
) -> None:
    for service in list(fake.swarm.services):
        fake.swarm.remove("services", service)
    fake.swarm.create("services", stack_service("api", STACK, Env=["ROOT_CA="]))
    with pytest.raises(OperationError, match="do not trust the CA that issued this certificate"):
        sync(project)
    assert cluster.done == ["compatible"]
    store.ensure_files(tmp_path / "other", DOMAIN)
    (project.pki / "chain.pem").write_bytes((tmp_path / "other" / "chain.pem").read_bytes())
    cluster.done.clear()
    assert sync(project).changed
    assert cluster.done == ["compatible", "store settings", *REST], "balena-ca does not know another CA's certificate"


def test_a_responder_that_does_not_start_is_a_warning(
    project: Project, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(client: Any, stack: str, name: str, timeout: float) -> None:
        assert timeout == 60
        if name == "balena-ca":
            raise OperationError("it crashes")

    monkeypatch.setattr(service_update, "wait_until_converged", wait)
    listener = Listener()
    assert sync(project, listener).changed
    assert len(listener.warnings) == 1 and listener.warnings[0].endswith("swarm-up (it crashes)")


@pytest.mark.parametrize(
    ("names", "failures", "failure", "warned"),
    [
        ({ADDRESS: "api"}, {}, "", 0),
        ({ADDRESS: "api"}, {ADDRESS: SERVES_OTHER_CERTIFICATE}, f"{ADDRESS}: {SERVES_OTHER_CERTIFICATE} than the", 0),
        ({ADDRESS: "api"}, {ADDRESS: "timed out"}, "", 1),
        ({}, {}, "", 1),
    ],
)
def test_on_one_machine_the_certificate_is_only_looked_for(
    names: dict[str, str], failures: dict[str, str], failure: str, warned: int,
    project: Project, cluster: Cluster, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    machine: Any = SimpleNamespace(chain=b"chain", volume="one_certs-data")
    asked: list[bytes] = []

    def endpoints(workspace: Any, values: Any, chain: bytes) -> Endpoints:
        asked.append(chain)
        return Endpoints(names, failures)

    monkeypatch.setattr(pki_sync, "served_certificate", lambda *args: machine)
    monkeypatch.setattr(pki_sync, "machine_endpoints", endpoints)
    listener = Listener()
    result = sync(project, listener)
    assert result.machine is machine and not result.changed and asked == [b"chain"] and cluster.done == []
    assert result.failure.startswith(failure) and bool(result.failure) is bool(failure)
    assert len(listener.heard) == warned and all(DOMAIN in text or "timed out" in text for text in listener.warnings)


def test_only_another_certificate_is_a_failure() -> None:
    assert serving_failure(Endpoints({ADDRESS: "node1"}, {ADDRESS: "timed out"})) == ""
    two = {ADDRESS: "node1", "192.0.2.2": "node2"}
    assert serving_failure(Endpoints(two, dict.fromkeys(two, SERVES_OTHER_CERTIFICATE))).startswith("node1, node2: ")
