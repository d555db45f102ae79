"""What the standalone commands decide, without an engine."""

from pathlib import Path

import pytest

from openbalena import compose, settings
from openbalena.base.errors import OperationError, UsageError
from openbalena.base.project import ROOT, Project
from openbalena.docker.engine import Engine
from openbalena.machine import deployment, takeover
from openbalena.machine.containers import Container, ContainerPhase, services_of
from openbalena.operations.engines import default_engine
from openbalena.pki import store, tokens

TLD = "example.com"


def container(service: str, state: str = "running", health: str = "healthy", exit_code: int = 0) -> Container:
    return Container("id", f"one-{service}-1", service, "image", state, health, exit_code, 0, "", "", ())


@pytest.mark.parametrize(
    ("state", "health", "exit_code", "phase"),
    [
        ("running", "healthy", 0, ContainerPhase.READY),
        ("running", "", 0, ContainerPhase.READY),
        ("running", "starting", 0, ContainerPhase.STARTING),
        ("running", "unhealthy", 0, ContainerPhase.FAILING),
        # The engine starts neither by itself.
        ("created", "", 0, ContainerPhase.STOPPED),
        ("created", "", 128, ContainerPhase.STOPPED),
        ("restarting", "", 1, ContainerPhase.FAILING),
        ("restarting", "", 0, ContainerPhase.STARTING),
        ("exited", "", 0, ContainerPhase.STOPPED),
        ("dead", "", 137, ContainerPhase.STOPPED),
        ("paused", "", 0, ContainerPhase.STOPPED),
    ],
)
def test_phase_of_a_container(state: str, health: str, exit_code: int, phase: ContainerPhase) -> None:
    assert container("api", state, health, exit_code).phase is phase


def test_what_was_never_started_says_so() -> None:
    assert container("api", "created", "").detail == "created, never started"
    assert container("api", "created", "", 128).detail == "failed to start, exit code 128"


def test_a_service_is_as_its_worst_container_and_stopped_without_one() -> None:
    known = [container("api"), container("api", health="unhealthy"), container("db"), container("stray")]
    seen = {service.name: service for service in services_of(known, ["api", "db", "vpn"])}
    assert {name: service.phase for name, service in seen.items()} == {
        "api": ContainerPhase.FAILING,
        "db": ContainerPhase.READY,
        "vpn": ContainerPhase.STOPPED,
    }
    assert seen["api"].detail == "unhealthy" and seen["vpn"].detail == "no container"


@pytest.mark.parametrize(
    ("words", "told"),
    [("Bind for 0.0.0.0:80 failed: port is already allocated", True), ("The name /a is already in use", False)],
)
def test_a_port_that_is_taken_is_explained(words: str, told: bool, tmp_path: Path) -> None:
    program = tmp_path / "docker"
    program.write_text(f"#!/bin/sh\necho '{words}'\nexit 1\n")
    program.chmod(0o755)
    project = Project(directory=tmp_path)
    (tmp_path / "compose.yml").write_text("services: {a: {image: x}}")
    definitions = compose.load([tmp_path / "compose.yml"], environment={})
    engine = Engine(cli=str(program))
    one = deployment.Standalone(project, settings.read(project), definitions, engine, "one", False, ())
    with pytest.raises(OperationError) as failed:
        list(one.stream("up", limit=20))
    assert words in str(failed.value) and ("Free the port" in str(failed.value)) is told


def test_the_shared_file_gives_tokens_alone() -> None:
    shared = b"API_HOST=api.example.com\nAPI_SERVICE_API_KEY=a=b\nSUPERUSER_PASSWORD=\nREGISTRY2_TOKEN=x\n"
    assert takeover.tokens(shared) == {"API_SERVICE_API_KEY": "a=b"}


@pytest.mark.parametrize(
    ("marked", "same_ca", "says"),
    [
        (False, True, "API_SERVICE_API_KEY: not the values in volume one_resin-data"),
        (True, True, ""),
        (True, False, "delete these lines and move "),
        (False, False, "delete these lines and move "),
    ],
)
def test_another_ca_s_mark_says_nothing_of_these_tokens(marked: bool, same_ca: bool, says: str, tmp_path: Path) -> None:
    store.ensure_files(tmp_path / "pki", TLD)
    store.ensure_files(tmp_path / "other", TLD)
    authority = (tmp_path / ("pki" if same_ca else "other") / "ca-0.pem").read_bytes()
    found = takeover.Found("one", {"API_SERVICE_API_KEY": "theirs"}, {"ca-0.pem": authority}, marked)
    values = {"PKI_DIR": str(tmp_path / "pki"), "API_SERVICE_API_KEY": "ours"}
    said = takeover.conflicts(found, values, tmp_path / ".env")
    assert says in said and bool(says) == bool(said) and "theirs" not in said and "ours" not in said
    values["API_SERVICE_API_KEY"] = "theirs"
    assert ("pki-data" in takeover.conflicts(found, values, tmp_path / ".env")) == (not same_ca)


@pytest.fixture
def upstream(tmp_path: Path) -> dict[str, bytes]:
    """The files of an upstream deployment's volumes, under upstream's names."""
    directory = tmp_path / "upstream"
    store.ensure_files(directory, TLD)
    private = "/certs/private"
    names = {name: f"/pki/{name}" for name in ("ca-0.pem", "ca-0-key.pem", "server-ca-0.pem", "server-ca-0-key.pem")}
    names |= {name: f"/pki/{name}" for name in ("ocsp.pem", "ocsp-key.pem")}
    names |= {f"{name}.{end}": f"{private}/{name}.{TLD}.{end}" for name in ("api", "vpn") for end in ("pem", "key")}
    names |= {"dhparam.pem": f"{private}/dhparam.{TLD}.pem", "chain.pem": "/certs/export/chain.pem"}
    names |= {"ca-bundle.pem": f"{private}/ca-bundle.{TLD}.pem"}
    return {path: (directory / name).read_bytes() for name, path in names.items()}


def test_upstreams_certificates_become_the_projects(upstream: dict[str, bytes], tmp_path: Path) -> None:
    directory = tmp_path / "pki"
    takeover.adopt(directory, takeover.certificates(upstream, TLD), TLD)
    store.ensure_files(directory, TLD)
    for name in ("api.key", "vpn.key", "api.pem"):
        assert (directory / name).read_bytes() == upstream[f"/certs/private/{name.replace('.', f'.{TLD}.')}"]
    assert (directory / "ca-0-key.pem").read_bytes() == upstream["/pki/ca-0-key.pem"]
    assert {path.name for path in directory.iterdir() if path.stat().st_mode & 0o077} == {
        *("api.jwks.json", "api.kid", "api.pem", "ca-0.pem", "ca-bundle.pem", "devices.rsa.key.pub"),
        *("dhparam.pem", "issued.sql", "ocsp.pem", "server-ca-0.pem", "vpn.pem"),
    }


def test_a_certificate_of_another_ca_is_made_anew_for_its_key(upstream: dict[str, bytes], tmp_path: Path) -> None:
    store.ensure_files(tmp_path / "other", TLD)
    key = (tmp_path / "other" / "api.key").read_bytes()
    upstream[f"/certs/private/api.{TLD}.key"] = key
    upstream[f"/certs/private/api.{TLD}.pem"] = (tmp_path / "other" / "api.pem").read_bytes()
    takeover.adopt(tmp_path / "pki", takeover.certificates(upstream, TLD), TLD)
    assert not (tmp_path / "pki" / "api.pem").exists()
    assert (tmp_path / "pki" / "api.key").read_bytes() == key


@pytest.mark.parametrize("content", [b"x", b""], ids=["no certificate", "empty"])
def test_a_damaged_certificate_is_made_anew_for_its_key(
    content: bytes, upstream: dict[str, bytes], tmp_path: Path
) -> None:
    upstream[f"/certs/private/vpn.{TLD}.pem"] = content
    takeover.adopt(tmp_path / "pki", takeover.certificates(upstream, TLD), TLD)
    assert not (tmp_path / "pki" / "vpn.pem").exists()
    assert (tmp_path / "pki" / "vpn.key").read_bytes() == upstream[f"/certs/private/vpn.{TLD}.key"]


def test_a_ca_whose_key_is_another_ones_is_refused(upstream: dict[str, bytes], tmp_path: Path) -> None:
    store.ensure_files(tmp_path / "other", TLD)
    upstream["/pki/ca-0-key.pem"] = (tmp_path / "other" / "ca-0-key.pem").read_bytes()
    with pytest.raises(UsageError, match="ca-0"):
        takeover.adopt(tmp_path / "pki", takeover.certificates(upstream, TLD), TLD)
    assert not (tmp_path / "pki").exists()


def test_without_the_cas_key_nothing_is_taken(upstream: dict[str, bytes]) -> None:
    del upstream["/pki/ca-0-key.pem"]
    assert takeover.certificates(upstream, TLD) == {}


@pytest.mark.parametrize(("directory", "expected"), [("open-balena", "open-balena"), ("My.Cloud_1", "mycloud_1")])
def test_the_projects_name_is_composes(
    directory: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(directory=tmp_path / directory)
    project.directory.mkdir()
    assert deployment.compose_project_name(project, settings.read(project)) == expected
    project.env_file.write_text("COMPOSE_PROJECT_NAME=old\n")
    assert deployment.compose_project_name(project, settings.read(project)) == "old"
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", "mine")
    assert deployment.compose_project_name(project, settings.read(project)) == "mine"


def test_the_checkout_itself_has_its_directorys_name() -> None:
    assert deployment.compose_project_name(Project(), settings.read(Project(), {})) == ROOT.name.lower()


def test_compose_acts_on_the_engine_that_is_looked_at_whatever_env_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = "".join(f"{name}={value}\n" for name, value in tokens.missing_tokens({}).items())
    (tmp_path / ".env").write_text(f"DNS_TLD={TLD}\nDOCKER_HOST=tcp://192.0.2.1:2375\nOWN=1\n{made}")
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    # Asks the engine.
    monkeypatch.setattr(deployment, "_require_plugin", lambda engine: None)
    engine = deployment.load_deployment(Project(directory=tmp_path), default_engine(False), lab=False).engine
    assert engine.environment["OWN"] == "1" and "DOCKER_HOST" not in engine.process_environment()
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/mine.sock")
    engine = deployment.load_deployment(Project(directory=tmp_path), default_engine(False), lab=False).engine
    assert engine.process_environment()["DOCKER_HOST"] == "unix:///run/mine.sock"
