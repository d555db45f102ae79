"""cert-manager's certificate is fetched from the node that it runs on, and its log says why there is none."""

import base64
import re
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from fake_engine import FakeEngine
from fake_swarm import Row, stack_service

from openbalena.base.errors import OperationError
from openbalena.certificates import on_swarm
from openbalena.settings.values import Settings, Value
from openbalena.swarm import encrypted_read

CHAIN = b"-----BEGIN CERTIFICATE-----\n"
SETTINGS = Settings({"STACK_NAME": Value("ob", ""), "CLOUDFLARE_API_TOKEN": Value("token-of-mine", "")}, [])
END = "openbalena-job-end"


def encrypted(spec: dict[str, Any]) -> list[str]:
    """What the reading task prints: the chain, encrypted for the certificate in its script, in lines of 12,000."""
    script = spec["TaskTemplate"]["ContainerSpec"]["Args"][1]
    pem = re.search("-----BEGIN CERTIFICATE-----.*-----END CERTIFICATE-----\n", script, re.DOTALL)
    assert pem is not None
    recipient = x509.load_pem_x509_certificate(pem[0].encode())
    builder = pkcs7.PKCS7EnvelopeBuilder().set_data(CHAIN).add_recipient(recipient)
    text = base64.b64encode(builder.encrypt(Encoding.DER, [pkcs7.PKCS7Options.Binary])).decode()
    return [text[:100], text[100:], END]


@pytest.fixture
def deployed(fake: FakeEngine) -> FakeEngine:
    """cert-manager runs on the second node."""
    fake.swarm.node("node1", "manager")
    fake.swarm.node("node2")
    constraints = ["node.hostname == node2"]
    spec = stack_service("cert-manager", constraints=constraints, Image="cert-manager:1")
    # The docker command line itself waits for so long (nanoseconds) that an updated task does not fail.
    fake.swarm.create("services", {**spec, "UpdateConfig": {"Monitor": 1_000_000}})
    fake.swarm.logs = {"openbalena-acme": [END], "openbalena-read": encrypted, "ob_cert-manager": ["got token-of-mine"]}
    return fake


def test_the_chain_is_read_where_cert_manager_runs(deployed: FakeEngine) -> None:
    with deployed.engine.client() as client:
        assert on_swarm.fetch_certificate(deployed.engine, client, SETTINGS) == CHAIN
    done, read = deployed.swarm.created[1:]
    assert [spec["Labels"]["openbalena.job"] for spec in (done, read)] == ["acme", "read"]
    for spec in (done, read):
        template = spec["TaskTemplate"]
        assert template["Placement"]["Constraints"] == ["node.id==id-node2"]
        assert template["ContainerSpec"]["Image"] == "cert-manager:1"
        (mount,) = template["ContainerSpec"]["Mounts"]
        assert (mount["Source"], mount["Target"], mount["ReadOnly"]) == ("ob_certs-data", "/certs", True)


def test_where_cert_manager_got_none_its_last_lines_are_shown_without_secrets(deployed: FakeEngine) -> None:
    failed = Row(0, "failed", "task: non-zero exit (1)", 1)
    deployed.swarm.fates["openbalena-acme"] = [[failed]]
    deployed.swarm.logs["openbalena-acme"] = ["cert-manager got no certificate by ACME and has given up", END]
    with deployed.engine.client() as client, pytest.raises(OperationError) as refused:
        on_swarm.fetch_certificate(deployed.engine, client, SETTINGS)
    assert "got no certificate by ACME" in str(refused.value)
    assert "token-of-mine" not in str(refused.value) and "pki sync" in str(refused.value)


def test_a_renewal_forgets_that_it_was_done_and_starts_cert_manager_again(deployed: FakeEngine) -> None:
    before = deployed.swarm.named("services", "ob_cert-manager")["Spec"]["TaskTemplate"]["ForceUpdate"]
    with deployed.engine.client() as client:
        on_swarm.request_renewal(deployed.engine, client, "ob")
    (forget,) = deployed.swarm.created[1:]
    container = forget["TaskTemplate"]["ContainerSpec"]
    assert "rm -f /certs/.ready" in container["Args"][1] and "ReadOnly" not in container["Mounts"][0]
    assert deployed.swarm.named("services", "ob_cert-manager")["Spec"]["TaskTemplate"]["ForceUpdate"] == before + 1


def test_a_file_that_cannot_be_read_is_named(deployed: FakeEngine) -> None:
    deployed.swarm.fates["openbalena-read"] = [[Row(0, "failed", "task: non-zero exit (1)", 1)]]
    deployed.swarm.logs["openbalena-read"] = ["no such file", END]
    with deployed.engine.client() as client:
        with pytest.raises(OperationError, match=r"/run/secrets/x cannot be read: no such file"):
            encrypted_read.read_file(deployed.engine, client, node="id-node2", image="a:1", file="/run/secrets/x")
        deployed.swarm.fates.clear()
        deployed.swarm.logs["openbalena-read"] = ["bm90IGVuY3J5cHRlZA==", END]
        with pytest.raises(OperationError, match="cannot decrypt the output"):
            encrypted_read.read_file(deployed.engine, client, node="id-node2", image="a:1", file="/run/secrets/x")
