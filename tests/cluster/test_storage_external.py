"""An external PostgreSQL and object store are asked from inside the cluster: what is wrong is found before a deploy."""

import base64
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from openbalena.cluster import engine as engines
from openbalena.cluster import state
from openbalena.project import Project
from openbalena.storage import external

pytestmark = pytest.mark.cluster
# A store over TLS that knows one key and one bucket: the check's own client is what is tried.
STORE = """
import base64, http.server, os, ssl
class Store(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        right = "Credential=acc3sskey/" in self.headers.get("Authorization", "")
        self.send_response((200 if self.path == "/registry-data/" else 404) if right else 403)
        self.end_headers()
open("/tmp/chain.pem", "wb").write(base64.b64decode(os.environ["KEY"]) + base64.b64decode(os.environ["CRT"]))
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/tmp/chain.pem")
server = http.server.HTTPServer(("", 8443), Store)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


def images(node: engines.Engine) -> dict[str, str]:
    """The lab's image of each service."""
    found = node.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()
    return {name: next(i for i in found if f"/{name}:c-" in i) for name in ("db", "api", "registry")}


def self_signed(directory: Path, address: str) -> bytes:
    """A certificate for an address; its key goes to key.pem."""
    request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    request += ["-subj", "/CN=store", "-addext", f"subjectAltName=IP:{address}", "-days", "2"]
    subprocess.run([*request, "-keyout", "key.pem", "-out", "crt.pem"], cwd=directory, check=True, capture_output=True)
    return (directory / "crt.pem").read_bytes()


@pytest.fixture
def servers(deployed: Project, tmp_path: Path) -> Iterator[dict[str, str]]:
    """A database and a store outside the swarm, on node3, and the settings for them."""
    node3 = engines.current(True).nodes[2]
    with engines.current(True).client() as client:
        address = next(node.address for node in state.read(client, "").nodes if node.hostname == "node3")
    certificate = base64.b64encode(self_signed(tmp_path, address)).decode()
    key = base64.b64encode((tmp_path / "key.pem").read_bytes()).decode()
    found = images(node3)
    node3.docker("run", "--detach", "--name", "external-db", "--publish", "15432:5432", found["db"])
    node3.docker(
        *(
            "run",
            "--detach",
            "--name",
            "external-s3",
            "--publish",
            "8443:8443",
            "--env",
            f"CRT={certificate}",
            "--env",
            f"KEY={key}",
        ),
        *("--entrypoint", "python3", found["api"], "-c", STORE),
    )
    try:
        yield {
            "EXTERNAL_POSTGRES": "true",
            "EXTERNAL_POSTGRES_HOST": address,
            "EXTERNAL_POSTGRES_PORT": "15432",
            "EXTERNAL_POSTGRES_DATABASE": "resin",
            "EXTERNAL_POSTGRES_USER": "docker",
            "EXTERNAL_POSTGRES_PASSWORD": "docker",
            "DB_IMAGE": found["db"],
            "EXTERNAL_S3_ENDPOINT": f"{address}:8443",
            "EXTERNAL_S3_ACCESS_KEY": "acc3sskey",
            "EXTERNAL_S3_SECRET_KEY": "s3cretkey",
            "EXTERNAL_S3_REGION": "us-east-1",
            "REGISTRY_IMAGE": found["registry"],
            "ROOT_CA": certificate,
        }
    finally:
        node3.docker("rm", "--force", "--volumes", "external-db", "external-s3")


def check(settings: dict[str, str], **changed: str) -> list[tuple[bool, str]]:
    engine = engines.current(True)
    with engine.client() as client:
        node = state.read(client, "").this_node
        found = external.check(engine, client, {**settings, **changed}, {}, node)
        assert not [secret for secret in client.secrets.list() if "openbalena-check" in secret.name]
    return [(finding.fatal, finding.text) for finding in found]


def test_a_database_is_asked_for_with_its_credentials(servers: dict[str, str]) -> None:
    end = time.monotonic() + 60
    while found := check(servers):
        assert time.monotonic() < end, found
    ((fatal, text),) = check(servers, EXTERNAL_POSTGRES_PASSWORD="wrong")
    assert fatal and "password authentication failed" in text
    ((fatal, text),) = check(servers, EXTERNAL_POSTGRES_PORT="15433")
    assert fatal and "onnection refused" in text
    ((fatal, text),) = check(servers, DB_IMAGE="localhost:1/not-there:1")
    assert not fatal and "could not be checked" in text


def test_each_bucket_is_asked_for_with_the_keys(servers: dict[str, str]) -> None:
    store = {**servers, "EXTERNAL_POSTGRES": "false", "EXTERNAL_S3": "true"}
    assert check(store) == [(True, "EXTERNAL_S3: bucket web-resources is not there: create it")]
    refused = check(store, EXTERNAL_S3_ACCESS_KEY="anotherkey")
    assert len(refused) == 2 and all("EXTERNAL_S3_SECRET_KEY is wrong" in text for _, text in refused)
    ((fatal, text),) = check(store, ROOT_CA="")
    assert fatal and "certificate" in text
    ((fatal, text),) = check(store, EXTERNAL_S3_ENDPOINT="s3.invalid")
    assert fatal and "resolve" in text
