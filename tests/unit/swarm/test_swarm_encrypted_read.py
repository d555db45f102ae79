"""Where a secret is read, and that it comes whole."""

import base64
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cluster_builders import cluster, node, service, task
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from fake_engine import FakeEngine

from openbalena.base.errors import OperationError
from openbalena.swarm import encrypted_read, job
from openbalena.swarm.state import Cluster, Node, Task

API = service(image="a:1")
WORKER, MANAGER = node(1, role="worker"), node(2, role="manager")


def of(nodes: list[Node], *tasks: Task) -> Cluster:
    return cluster([API], list(tasks), nodes)


@pytest.mark.parametrize("nodes", [[WORKER, MANAGER], [MANAGER, WORKER]])
def test_a_manager_reads_where_one_has_the_image(nodes: list[Node]) -> None:
    both = of(nodes, task(1, node_id=WORKER.id), task(2, node_id=MANAGER.id))
    assert encrypted_read.pick_node_and_image(both, "api") == (MANAGER.id, "a:1")


def test_a_worker_reads_where_no_manager_has_the_image() -> None:
    assert encrypted_read.pick_node_and_image(of([WORKER, MANAGER], task(1, node_id=WORKER.id)), "api") == (
        WORKER.id,
        "a:1",
    )


@pytest.mark.parametrize(
    ("machine", "there"),
    [
        (node(1, state="down"), task(1)),
        (node(1, availability="drain"), task(1)),
        (node(1), task(1, state="starting")),
        (node(1), task(1, state="preparing")),
        (node(1, state="unknown"), task(1)),
        (node(1), task(1, desired="shutdown")),
    ],
)
def test_nobody_reads_where_no_task_runs(machine: Node, there: Task) -> None:
    with pytest.raises(OperationError, match="no task of api is running"):
        encrypted_read.pick_node_and_image(of([machine], there), "api")
    with pytest.raises(OperationError, match="no task of db is running"):
        encrypted_read.pick_node_and_image(of([machine], task(1)), "db")


END = "openbalena-job-end"


def sealed(spec: dict[str, Any], content: bytes) -> str:
    """What the task of that service prints: `content`, encrypted for the certificate in its script."""
    script = spec["TaskTemplate"]["ContainerSpec"]["Args"][1]
    pem = re.search("-----BEGIN CERTIFICATE-----.*-----END CERTIFICATE-----\n", script, re.DOTALL)
    assert pem is not None
    recipient = x509.load_pem_x509_certificate(pem[0].encode())
    # The clocks of the nodes differ, and a certificate is used at once.
    now, key = datetime.now(UTC), recipient.public_key()
    assert now - timedelta(minutes=70) < recipient.not_valid_before_utc < now - timedelta(minutes=50)
    assert now + timedelta(minutes=50) < recipient.not_valid_after_utc < now + timedelta(minutes=70)
    assert isinstance(key, rsa.RSAPublicKey) and key.key_size == 2048
    builder = pkcs7.PKCS7EnvelopeBuilder().set_data(content).add_recipient(recipient)
    return base64.b64encode(builder.encrypt(Encoding.DER, [pkcs7.PKCS7Options.Binary])).decode()


def read(fake: FakeEngine) -> bytes:
    fake.swarm.node("node1", "manager")
    with fake.engine.client() as client:
        secret = client.secrets.create(name="ob_x", data=b"x")
        assert secret.id
        return encrypted_read.read_file(
            fake.engine, client, node="id-node1", image="a:1", file="/run/secrets/ob_x", secrets=["ob_x"],
            mounts=[job.Mount("ob_certs-data", "/certs", "ob")],
        )  # fmt: skip


def test_a_file_is_decrypted_from_lines_in_order(fake: FakeEngine) -> None:
    def lines(spec: dict[str, Any]) -> list[str]:
        text = sealed(spec, b"\0binary\n")
        return [text[:100], text[100:200], text[200:], END]

    fake.swarm.logs["openbalena-read"] = lines
    assert read(fake) == b"\0binary\n"
    container = fake.swarm.created[0]["TaskTemplate"]["ContainerSpec"]
    assert [item["SecretName"] for item in container["Secrets"]] == ["ob_x"]
    assert [item["Source"] for item in container["Mounts"]] == ["ob_certs-data"]
    assert "-in /run/secrets/ob_x " in container["Args"][1]


def test_output_that_is_not_only_the_encrypted_file_is_refused(fake: FakeEngine) -> None:
    fake.swarm.logs["openbalena-read"] = lambda spec: ["!", sealed(spec, b"x"), END]
    with pytest.raises(OperationError, match="cannot decrypt the output of the task"):
        read(fake)
