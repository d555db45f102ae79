"""A certificate from an ACME server (pebble) reaches the cluster, and its renewal does: cert-manager and `pki sync`."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from deployed_project import STACK, running, tool

from openbalena.base.project import Project
from openbalena.operations.engines import default_engine
from openbalena.swarm import encrypted_read, job, state

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

TOKEN, WRONG = "openbalena-lab-dns-token", "openbalena-wrong-token"
# Of a certificate that is due at once.
SHORT = "services: {letsencrypt: {environment: {LIFETIME_DAYS: '3'}}"
# The lab's ACME server is a public CA to the stand-ins, as Let's Encrypt is to the real images.
TRUST = """,
  api: &trust {{configs: [{{source: public-ca, target: /certs/lab-public-ca.pem}}]}},
  registry: *trust, s3: *trust, vpn: *trust}}
configs: {{public-ca: {{file: {file}}}}}
"""


@pytest.fixture
def project(deployed: Project, tmp_path: Path) -> Iterator[Project]:
    """The shared deployment, with its private CA again at the end."""
    env, override = deployed.env_file.read_text(), deployed.directory / "docker-compose.override.yml"
    kept = shutil.copytree(deployed.pki, tmp_path / "pki")
    try:
        yield deployed
    finally:
        deployed.env_file.write_text(env)
        override.unlink(missing_ok=True)
        shutil.copytree(kept, deployed.pki, dirs_exist_ok=True)
        done = tool(deployed, "swarm-up", "--yes")
        assert done.returncode == 0, done.stderr


def run(project: Project, *words: str, **environment: str) -> str:
    done = tool(project, *words, **environment)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    assert TOKEN not in done.stdout + done.stderr
    return done.stdout + done.stderr


def public_ca() -> bytes:
    """What cert-manager knows of the ACME server's CA."""
    current = default_engine(lab=True)
    with current.client() as client:
        node, image = encrypted_read.pick_node_and_image(state.read_cluster(client, STACK), "cert-manager")
        mount = job.Mount(f"{STACK}_certs-data", "/certs", STACK)
        return encrypted_read.read_file(
            current, client, node=node, image=image, file="/certs/lab-public-ca.pem", mounts=[mount]
        )


def test_acme_in_a_cluster(project: Project, tmp_path: Path) -> None:
    override, authority = project.directory / "docker-compose.override.yml", tmp_path / "public.pem"
    override.write_text(f"{SHORT}}}\n")
    with project.env_file.open("a") as file:
        file.write(f"ACME_EMAIL=admin@openbalena.test\nCLOUDFLARE_API_TOKEN={WRONG}\n")
    for words in (["config", "--yes"], ["swarm-init"], ["swarm-build"], ["swarm-up"]):
        run(project, *words)
    done = tool(project, "pki", "sync")
    assert (
        done.returncode == 1
        and "could not obtain an ACME certificate and has given up. Its last log lines:\n  | " in done.stderr
    )
    assert "Invalid access token" in done.stderr and WRONG not in done.stdout + done.stderr, done.stderr

    project.env_file.write_text(project.env_file.read_text().replace(WRONG, TOKEN))
    run(project, "swarm-up")
    before = running()
    done = tool(project, "pki", "sync")
    assert done.returncode == 1 and "the services do not trust the CA that issued" in done.stderr, (
        done.stdout + done.stderr
    )
    chain = project.pki / "chain.pem"
    first = x509.load_pem_x509_certificate(chain.read_bytes())
    assert first.issuer.rfc4514_string().startswith("CN=Pebble")
    assert {name for name in before if running()[name] != before[name]} == {"cert-manager"}, "it was due at once"

    authority.write_bytes(public_ca())
    override.write_text(SHORT + TRUST.format(file=authority))
    run(project, "swarm-up")
    run(project, "verify", SSL_CERT_FILE=str(authority))

    before = running()
    assert "node1" in run(project, "pki", "sync")
    second = x509.load_pem_x509_certificate(chain.read_bytes())
    assert second.serial_number != first.serial_number
    assert {name for name in before if running()[name] != before[name]} == {"cert-manager", "haproxy-certs"}
    run(project, "verify", SSL_CERT_FILE=str(authority))
