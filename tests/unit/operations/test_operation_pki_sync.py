"""pki sync on the fake engine: what is refused, and in which order a cluster gets a certificate."""

from base64 import b64encode
from pathlib import Path

import pytest
from fake_engine import FakeEngine
from fake_swarm import stack_service

from openbalena.base.errors import OperationError, UsageError
from openbalena.base.names import object_name
from openbalena.base.project import Project
from openbalena.cli.console import Console
from openbalena.cli.main import main
from openbalena.operations.pki_sync import SyncCertificateOptions, SyncCertificateResult, sync_certificate
from openbalena.operations.workspace import Workspace
from openbalena.pki import renew

DOMAIN, STACK = "my.example.com", "openbalena"
# A loopback address on which nothing listens.
UNUSED = "127.0.0.77"


class Heard(Console):
    """Keeps the warnings."""

    def __init__(self) -> None:
        super().__init__()
        self.warnings: list[str] = []

    def warn(self, *texts: str) -> None:
        self.warnings += texts


@pytest.fixture
def project(project: Project, fake: FakeEngine) -> Project:
    """The manager is one on which nothing answers on port 443."""
    (node,) = fake.swarm.nodes.values()
    node["Status"]["Addr"] = UNUSED
    return project


def deploy(fake: FakeEngine, project: Project, *, trusted: bytes | None = None) -> None:
    """The three services that a certificate concerns, with the files that the project has now."""
    authority = trusted or (project.pki / "ca-bundle.pem").read_bytes()
    chain, rows = ((project.pki / name).read_bytes() for name in ("chain.pem", "issued.sql"))
    with fake.engine.client() as client:
        client.secrets.create(name=object_name(STACK, "haproxy-chain", chain), data=chain)
        client.configs.create(name=object_name(STACK, "ca-issued", rows), data=rows)
    secret, config = next(iter(fake.swarm.secrets.values())), next(iter(fake.swarm.configs.values()))
    fake.swarm.create("services", stack_service("api", STACK, Env=[f"ROOT_CA={b64encode(authority).decode()}"]))
    fake.swarm.create("services", stack_service("balena-ca", STACK, configs=[config]))
    fake.swarm.create("services", stack_service("haproxy-certs", STACK, secrets=[secret]))


def used(fake: FakeEngine, service: str, kind: str) -> str:
    spec = fake.swarm.named("services", f"{STACK}_{service}")["Spec"]["TaskTemplate"]["ContainerSpec"]
    return str(spec[f"{kind}s"][0][f"{kind}Name"])


def sync(project: Project, heard: Heard | None = None) -> SyncCertificateResult:
    reporter = heard or Heard()
    return sync_certificate(SyncCertificateOptions(timeout=60), Workspace(project, lab=False), reporter)


def changes(fake: FakeEngine) -> dict[str, int]:
    """The version of each service."""
    return {item["Spec"]["Name"]: item["Version"]["Index"] for item in fake.swarm.services.values()}


def test_the_responder_gets_the_certificate_before_clients_do(project: Project, fake: FakeEngine) -> None:
    deploy(fake, project)
    before = changes(fake)
    assert renew.renew_certificates(project.pki, DOMAIN) == ["chain.pem"]
    heard = Heard()
    result = sync(project, heard)
    now = changes(fake)
    assert result.changed and result.machine is None and result.failure == ""
    assert {name for name in now if now[name] != before[name]} == {f"{STACK}_balena-ca", f"{STACK}_haproxy-certs"}
    assert now[f"{STACK}_balena-ca"] < now[f"{STACK}_haproxy-certs"]
    chain, rows = ((project.pki / name).read_bytes() for name in ("chain.pem", "issued.sql"))
    assert used(fake, "haproxy-certs", "Secret") == object_name(STACK, "haproxy-chain", chain)
    assert used(fake, "balena-ca", "Config") == object_name(STACK, "ca-issued", rows)
    assert len(heard.warnings) == 1 and f"node1 ({UNUSED}) could not be checked on port 443" in heard.warnings[0]


def test_a_second_sync_changes_no_service(project: Project, fake: FakeEngine) -> None:
    deploy(fake, project)
    before = changes(fake)
    assert not sync(project).changed and changes(fake) == before


def test_a_certificate_that_the_services_do_not_trust_is_refused(
    project: Project, fake: FakeEngine, tmp_path: Path
) -> None:
    assert main(["--project-directory", str(tmp_path), "config", "--dns-tld", DOMAIN, "--yes"]) == 0
    deploy(fake, project, trusted=(tmp_path / "pki" / "ca-bundle.pem").read_bytes())
    renew.renew_certificates(project.pki, DOMAIN)
    before, secrets = changes(fake), set(fake.swarm.secrets)
    with pytest.raises(OperationError, match="do not trust the CA that issued this certificate.*swarm-up"):
        sync(project)
    assert changes(fake) == before and set(fake.swarm.secrets) == secrets, "nothing is stored either"


def test_a_cluster_without_an_ingress_node_is_named(project: Project, fake: FakeEngine) -> None:
    deploy(fake, project)
    next(iter(fake.swarm.nodes.values()))["Spec"]["Labels"].clear()
    with pytest.raises(UsageError, match="no node has the label openbalena.ingress=true"):
        sync(project)


def test_an_older_balena_ca_gets_a_warning_and_clients_the_certificate(project: Project, fake: FakeEngine) -> None:
    """One that was deployed before it had a config of the certificates."""
    deploy(fake, project)
    fake.swarm.remove("services", f"{STACK}_balena-ca")
    fake.swarm.create("services", stack_service("balena-ca", STACK))
    renew.renew_certificates(project.pki, DOMAIN)
    heard = Heard()
    assert sync(project, heard).changed
    assert "the OCSP responder does not know the certificate yet" in heard.warnings[0]
