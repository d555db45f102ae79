"""A PostgreSQL server and an object store outside the swarm: asked from inside the cluster before a deploy, and then
what the whole deployment works with, each on its own and both together."""

import base64
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from deployed_project import running, tool
from waiting import BOUND

from openbalena.base.project import Project
from openbalena.docker import engine as engines
from openbalena.operations.engines import default_engine
from openbalena.storage import external
from openbalena.swarm import job, lock, state

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
PASSWORD, ACCESS, SECRET = "pg-Pa55word-of-theirs", "acc3sskey", "s3cretkey-of-theirs"
# The lab's S3 server, over TLS as a store outside is, with the first of the two buckets.
STORE = """
import base64, os, ssl
from pathlib import Path
from standin.server import Server
from standin.signature import Keys
from standin.store import Store
open("/tmp/chain.pem", "wb").write(base64.b64decode(os.environ["KEY"]) + base64.b64decode(os.environ["CRT"]))
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/tmp/chain.pem")
store = Store(Path("/export"))
store.make_bucket("registry-data")
server = Server(store, Keys(os.environ["ACCESS"], os.environ["SECRET"]), 8443)
# The handshake is the request's thread's, so that no client keeps another one waiting.
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
"""
CREATE_BUCKET = "from pathlib import Path; from standin.store import Store; Store(Path('/export')).make_bucket('{}')"


def images(node: engines.Engine) -> dict[str, str]:
    """The lab's image of each service."""
    found = node.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()
    return {name: next(i for i in found if f"/{name}:c-" in i) for name in ("db", "s3", "registry")}


def issued(directory: Path, pki: Path, address: str) -> tuple[bytes, bytes]:
    """A certificate for an address, of the deployment's own CA, which its services trust; and its key."""

    def openssl(*words: str | Path) -> None:
        subprocess.run(["openssl", *words], cwd=directory, check=True, capture_output=True)

    names = directory / "names"
    names.write_text(f"subjectAltName=IP:{address}\n")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-new", *curve, "-subj", "/CN=store", "-keyout", "key.pem", "-out", "request.pem")
    authority = ("-CA", pki / "ca-0.pem", "-CAkey", pki / "ca-0-key.pem", "-CAcreateserial", "-CAserial", "serial")
    openssl("x509", "-req", "-in", "request.pem", *authority, "-days", "2", "-extfile", names, "-out", "crt.pem")
    return (directory / "crt.pem").read_bytes(), (directory / "key.pem").read_bytes()


@pytest.fixture(scope="module")
def servers(deployed: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A database and a store outside the swarm, on node3, and the settings for them."""
    node3 = default_engine(True).nodes[2]
    with default_engine(True).client() as client:
        address = next(node.address for node in state.read_cluster(client, "").nodes if node.hostname == "node3")
    certificate, key = issued(tmp_path_factory.mktemp("store"), deployed.pki, address)
    found = images(node3)
    environment: dict[str, str | bytes] = {"ACCESS": ACCESS, "SECRET": SECRET, "CRT": certificate, "KEY": key}
    words = []
    for name, value in environment.items():
        text = value if isinstance(value, str) else base64.b64encode(value).decode()
        words += ["--env", f"{name}={text}"]
    try:
        node3.docker(
            *("run", "--detach", "--name", "external-db", "--publish", "15432:5432"),
            *("--env", f"DB_PASSWORD={PASSWORD}", "--env", "DB_USER=theirs", "--env", "DB_NAME=ours", found["db"]),
        )
        node3.docker(
            *("run", "--detach", "--name", "external-s3", "--publish", "8443:8443", *words),
            *("--entrypoint", "python3", found["s3"], "-c", STORE),
        )
        yield {
            "EXTERNAL_POSTGRES": "true",
            "EXTERNAL_POSTGRES_HOST": address,
            "EXTERNAL_POSTGRES_PORT": "15432",
            "EXTERNAL_POSTGRES_DATABASE": "ours",
            "EXTERNAL_POSTGRES_USER": "theirs",
            "EXTERNAL_POSTGRES_PASSWORD": PASSWORD,
            "DB_IMAGE": found["db"],
            "EXTERNAL_S3": "true",
            "EXTERNAL_S3_ENDPOINT": f"{address}:8443",
            "EXTERNAL_S3_ACCESS_KEY": ACCESS,
            "EXTERNAL_S3_SECRET_KEY": SECRET,
            "EXTERNAL_S3_REGION": "us-east-1",
            "REGISTRY_IMAGE": found["registry"],
            "ROOT_CA": base64.b64encode((deployed.pki / "ca-0.pem").read_bytes()).decode(),
        }
    finally:
        node3.docker("rm", "--force", "--volumes", "external-db", "external-s3")


def take_data_along() -> None:
    """Copy what the internal database has, as the guide says: the api's users and the VPN's registrations are in it."""
    node1, _, node3 = default_engine(True).nodes
    name = node1.docker("ps", "--quiet", "--filter", "name=openbalena_db.").strip()
    dump = node1.docker("exec", name, "pg_dump", "-U", "docker", "--no-owner", "resin")
    restore = ("psql", "-q", "-v", "ON_ERROR_STOP=1", "-U", "theirs", "-d", "ours")
    words = node3.command("exec", "--interactive", "--user", "postgres", "external-db", *restore)
    subprocess.run(
        words, env=node3.process_environment(), input=dump, text=True, capture_output=True, check=True, timeout=60
    )


def connections(node3: engines.Engine) -> str:
    """The sessions that the database outside has from elsewhere."""
    question = "SELECT client_addr FROM pg_stat_activity WHERE client_addr IS NOT NULL"
    words = ("psql", "-U", "theirs", "-d", "ours", "-qtAc", question)
    return node3.docker("exec", "--user", "postgres", "external-db", *words).strip()


def check(settings: dict[str, str], **changed: str) -> list[tuple[bool, str]]:
    engine = default_engine(True)
    with engine.client() as client:
        node = state.read_cluster(client, "").this_node
        found = external.check_external(engine, client, {"API_WORKERS": "1", **settings, **changed}, {}, node, 1)
        assert not [secret for secret in client.secrets.list() if "openbalena-check" in secret.name]
    return [(finding.fatal, str(finding)) for finding in found]


def test_a_database_is_asked_for_with_its_credentials(servers: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    database = {**servers, "EXTERNAL_S3": "false"}
    end = time.monotonic() + BOUND
    while found := check(database):
        assert time.monotonic() < end, found
    ((fatal, text),) = check(database, EXTERNAL_POSTGRES_PASSWORD="wrong")
    assert fatal and "password authentication failed" in text
    ((fatal, text),) = check(database, EXTERNAL_POSTGRES_PORT="15433")
    assert fatal and "onnection refused" in text
    ((fatal, text),) = check(database, EXTERNAL_POSTGRES_DATABASE="theirs")
    assert fatal and 'database "theirs" does not exist' in text
    ((fatal, text),) = check(database, DB_IMAGE="localhost:1/not-there:1")
    assert fatal and "could not be checked" in text and "set DB_IMAGE to an image" in text
    ((fatal, text),) = check(database, API_WORKERS="2")
    assert not fatal and "allows 100 connections (max_connections), but up to 140 may be needed" in text
    monkeypatch.setattr(external, "OLDEST_POSTGRES", 99)
    ((fatal, text),) = check(database)
    assert "PostgreSQL 17, which is no longer supported: use 99 or later" in text


def test_each_bucket_is_asked_for_with_the_keys(servers: dict[str, str]) -> None:
    store = {**servers, "EXTERNAL_POSTGRES": "false"}
    assert check(store) == [(True, "EXTERNAL_S3: bucket web-resources does not exist: create it")]
    refused = check(store, EXTERNAL_S3_ACCESS_KEY="anotherkey")
    assert len(refused) == 2 and all("EXTERNAL_S3_SECRET_KEY is wrong" in text for _, text in refused)
    refused = check(store, EXTERNAL_S3_SECRET_KEY="anotherkey")
    assert len(refused) == 2 and all("EXTERNAL_S3_SECRET_KEY is wrong" in text for _, text in refused)
    ((fatal, text),) = check(store, ROOT_CA="")
    assert fatal and "certificate" in text
    ((fatal, text),) = check(store, EXTERNAL_S3_ENDPOINT="s3.invalid")
    assert fatal and "resolve" in text


def test_what_a_killed_check_left_does_not_stop_the_next(servers: dict[str, str]) -> None:
    engine = default_engine(True)
    with engine.client() as client:
        nodes = [node.id for node in state.read_cluster(client, "").nodes]
        name = "openbalena-check-postgres"
        client.secrets.create(name=name, data=b"left")
        # On another manager, whose task has another name.
        left = job.Job("postgres", nodes[1], servers["DB_IMAGE"], "sleep 300", secrets=[name])
        job.start_job(engine, left)
        try:
            with lock.acquire(client, "swarm-up"):
                assert not client.secrets.list(filters={"name": name}), "the password of one that is external no more"
                check({**servers, "EXTERNAL_S3": "false"}, EXTERNAL_POSTGRES_PASSWORD="wrong")
            assert not client.services.list(filters={"name": left.name})
        finally:
            job.remove_job(engine, left)


Deploy = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def deploy(deployed: Project, servers: dict[str, str]) -> Iterator[Deploy]:
    """Set settings as a user does, by `config`, and deploy; at the end the deployment is as it was."""
    before = deployed.env_file.read_text()

    def run(**settings: str) -> "subprocess.CompletedProcess[str]":
        deployed.env_file.write_text(before)
        plain = {name: value for name, value in settings.items() if name.startswith("EXTERNAL_")}
        hidden = {name: plain.pop(name) for name in list(plain) if name.endswith(("PASSWORD", "_KEY"))}
        options = [word for name, value in plain.items() for word in (f"--{name.lower().replace('_', '-')}", value)]
        done = tool(deployed, "config", *options, "--yes", **hidden)
        assert done.returncode == 0, done.stderr
        return tool(deployed, "swarm-up", "--yes")

    try:
        yield run
    finally:
        deployed.env_file.write_text(before)
        done = tool(deployed, "swarm-up", "--yes")
        assert done.returncode == 0, done.stderr


def test_the_deployment_works_with_both_and_with_each_alone(
    deployed: Project, servers: dict[str, str], deploy: Deploy
) -> None:
    before = running()
    done = deploy(**servers)
    assert done.returncode == 1 and "nothing was deployed" in done.stderr, done.stderr
    assert "bucket web-resources does not exist" in done.stderr and running() == before
    node3 = default_engine(True).nodes[2]
    node3.docker("exec", "external-s3", "python3", "-c", CREATE_BUCKET.format("web-resources"))
    postgres = {name: value for name, value in servers.items() if name.startswith("EXTERNAL_POSTGRES")}
    store = {name: value for name, value in servers.items() if name.startswith("EXTERNAL_S3")}
    done = deploy(**{**postgres, "EXTERNAL_POSTGRES_PASSWORD": "wrong"})
    assert done.returncode == 1 and "password authentication failed" in done.stderr and running() == before
    take_data_along()
    for settings, absent in ((postgres, {"db"}), (servers, {"db", "s3"}), (store, {"s3"})):
        done = deploy(**settings)
        assert done.returncode == 0, done.stdout + done.stderr
        assert before.keys() - running().keys() == absent
        answers = connections(node3)
        assert bool(answers) == ("db" in absent), answers
        verified = tool(deployed, "verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr
    images_there = node3.docker("exec", "external-s3", "find", "/export", "-path", "*registry-data*blobs*")
    assert images_there, "what verify pushed is in the store outside"
