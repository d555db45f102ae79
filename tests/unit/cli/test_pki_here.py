"""What pki says and does where HAProxy of the deployment runs on one machine."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_engine import FakeEngine, archive, fake_engine

from openbalena.cli.main import main

DOMAIN = "open.test"
CHAIN, PRIVATE = "/certs/export/chain.pem", f"/certs/private/{DOMAIN}-chain.pem"


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    with fake_engine(tmp_path) as running:
        monkeypatch.setenv("DOCKER_HOST", running.url)
        monkeypatch.delenv("OPEN_BALENA_LAB", raising=False)
        yield running


def runs(engine: FakeEngine, service: str) -> None:
    """The project's only container is that service's."""
    engine.containers.clear()
    labels = {"com.docker.compose.project": "one", "com.docker.compose.service": service}
    engine.container(f"one-{service}-1", labels)


@pytest.fixture
def at(tmp_path: Path, engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The options that name a configured project; HAProxy reads another certificate than pki/chain.pem."""
    at, other = (["--project-directory", str(tmp_path / name)] for name in ("one", "other"))
    for each in (at, other):
        Path(each[1]).mkdir()
        assert main(["config", "--dns-tld", DOMAIN, "--yes", *each]) == 0
    served = (tmp_path / "other" / "pki" / "chain.pem").read_bytes()
    runs(engine, "haproxy")
    for path in (CHAIN, PRIVATE, PRIVATE.replace("private", "public")):
        engine.archives[path] = archive((Path(path).name, served))
    capsys.readouterr()
    return at


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (PRIVATE, "balena-ca issues it to cert-manager, which renews it when started in the certificate's last 7 days"),
        (PRIVATE.replace("private", "public"), "auto-pki renews it in its last 7 days"),
        ("", "it is a custom one"),
    ],
)
def test_what_is_served_is_shown_and_left_to_who_renews_it(
    at: list[str], engine: FakeEngine, capsys: pytest.CaptureFixture[str], target: str, words: str
) -> None:
    if target:
        engine.links[CHAIN] = target
    assert main(["pki", "show", *at]) == 0
    said = capsys.readouterr().out
    assert words in said and "serves the certificate in the volume one_certs-data, not chain.pem" in said
    assert main(["pki", "show", "--json", *at]) == 0
    first, second = json.loads(capsys.readouterr().out)[:2]
    assert first["file"] == f"one_certs-data:{CHAIN}" and second["file"].endswith("/one/pki/chain.pem")
    before = (Path(at[1]) / "pki" / "chain.pem").read_bytes()
    assert main(["pki", "renew", *at]) == 0
    assert words in (said := capsys.readouterr().out) and "It expires in 824 days and was not renewed." in said
    assert (Path(at[1]) / "pki" / "chain.pem").read_bytes() == before


def test_an_engine_that_refuses_is_named_and_the_files_are_shown(
    at: list[str], engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.refused = "not today"
    assert main(["pki", "show", *at]) == 0
    said = capsys.readouterr()
    assert "could not determine whether HAProxy on this machine serves another" in said.err and "not today" in said.err
    assert "chain.pem" in said.out


def test_where_none_runs_the_files_are_a_clusters(
    at: list[str], engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    runs(engine, "db")
    before = (Path(at[1]) / "pki" / "chain.pem").read_bytes()
    assert main(["pki", "renew", *at]) == 0
    assert "pki sync (for a running cluster" in capsys.readouterr().out
    assert (Path(at[1]) / "pki" / "chain.pem").read_bytes() != before
