"""What the volumes hold is read whole or not at all: "could not be looked at" is never "there is nothing"."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from fake_engine import FakeEngine, archive, fake_engine

from openbalena.base.errors import OperationError
from openbalena.compose import dotenv
from openbalena.docker.engine import Engine
from openbalena.machine import takeover, volumes
from openbalena.operations.engines import installed_engine
from openbalena.pki import store, tokens
from openbalena.settings.variables import variables

TLD = "example.com"
SHARED = f"balena/{TLD}.env"
CLEAN = {name: value for name, value in os.environ.items() if name not in variables() and name != "DOCKER_CONTEXT"}


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    # A socket's path has at most 107 bytes (unix(7)), fewer than pytest's directories may need.
    with TemporaryDirectory() as directory, fake_engine(Path(directory)) as running:
        yield running


def read(engine: FakeEngine, data: bytes) -> dict[str, bytes | None]:
    engine.archives["/balena"] = data
    with Engine(host=engine.url).client(timeout=5) as client:
        return volumes.read_file(client, {"one_resin-data": "/balena"}, lambda path: not path.endswith("core"))


def test_a_large_file_that_nobody_asked_for_is_passed_over(engine: FakeEngine) -> None:
    found = read(engine, archive(("balena/core", bytes(34_000_000)), (SHARED, b"A=b")))
    assert found == {"/balena/core": None, f"/{SHARED}": b"A=b"}
    assert engine.images == set()


@pytest.mark.parametrize("cut", [512, 1024, 1536, 34_000_000])
def test_an_archive_that_breaks_off_is_no_empty_volume(engine: FakeEngine, cut: int) -> None:
    whole = archive((SHARED, b"A=b"), ("balena/other", b"x" * 600))
    end = whole.rstrip(b"\0")
    with pytest.raises(OperationError, match=r"volume could not be read.* try again"):
        read(engine, end[:cut] if cut < len(end) else end)
    # The engine is free again: what holds the volume is gone.
    assert engine.images == set()


def test_a_wanted_file_that_is_too_large_is_said(engine: FakeEngine) -> None:
    with pytest.raises(OperationError, match=f"/{SHARED} in a volume has 34000000 bytes"):
        read(engine, archive((SHARED, bytes(34_000_000))))


def test_links_count_as_what_they_point_to(engine: FakeEngine) -> None:
    engine.archives["/balena/real"] = archive(("real", b"A=b"))
    members: list[tuple[str, bytes | str]] = [
        ("balena/real", b"A=b"),
        (SHARED, "=balena/real"),
        ("balena/soft", "real"),
        ("balena/broken", "/no"),
    ]
    found = read(engine, archive(*members))
    assert found == dict.fromkeys(("/balena/real", f"/{SHARED}", "/balena/soft"), b"A=b")
    # Hard linked to what the archive has not, as when it was removed while the engine read.
    assert read(engine, archive((SHARED, "=balena/gone"))) == {}


def test_calls_at_the_same_time_do_not_remove_each_others_image(engine: FakeEngine) -> None:
    data = archive((SHARED, b"A=b"))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: read(engine, data), range(24)))
    assert found == [{f"/{SHARED}": b"A=b"}] * 24 and engine.images == set()
    assert len(set(engine.every_image)) == 24


def config(directory: Path, host: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    words = ["--project-directory", str(directory), "config", "--dns-tld", TLD, "--yes"]
    done = subprocess.run(
        [sys.executable, "-m", "openbalena", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        env={**CLEAN, "DOCKER_HOST": host, "COMPOSE_PROJECT_NAME": "one"},
    )
    assert done.returncode == code, done.stderr
    return done


def test_config_makes_nothing_where_the_engine_does_not_answer(tmp_path: Path) -> None:
    done = config(tmp_path, f"unix://{tmp_path}/none.sock", 1)
    assert "nothing was created" in done.stderr and "one_*" in done.stderr and "none.sock" in done.stderr
    assert not (tmp_path / ".env").exists() and not (tmp_path / "pki").exists()


def test_config_makes_nothing_where_the_engine_refuses(engine: FakeEngine, tmp_path: Path) -> None:
    engine.refused = "too busy"
    assert "too busy" in config(tmp_path, engine.url, 1).stderr
    assert not (tmp_path / ".env").exists() and not (tmp_path / "pki").exists()


def test_config_goes_on_without_the_engine_where_nothing_is_to_be_made(engine: FakeEngine, tmp_path: Path) -> None:
    config(tmp_path, engine.url)
    engine.refused = "too busy"
    assert "unchanged" in config(tmp_path, engine.url).stdout
    for lost in (".env", "pki/ca-0.pem"):
        kept = (tmp_path / lost).read_bytes()
        (tmp_path / lost).unlink()
        assert "too busy" in config(tmp_path, engine.url, 1).stderr
        assert not (tmp_path / lost).exists()
        (tmp_path / lost).write_bytes(kept)


def test_config_takes_the_volumes_tokens_beside_a_core_dump(engine: FakeEngine, tmp_path: Path) -> None:
    engine.volumes["one_resin-data"] = {}
    shared = b"JSON_WEB_TOKEN_SECRET=0123456789abcdef0123456789abcdef\n"
    engine.archives["/balena"] = archive(("balena/core.1", bytes(34_000_000)), (SHARED, shared))
    assert "JSON_WEB_TOKEN_SECRET" in config(tmp_path, engine.url).stdout.partition("Adopted tokens")[2]
    assert dotenv.read_file(tmp_path / ".env", {}).values["JSON_WEB_TOKEN_SECRET"] == "0123456789abcdef" * 2


def test_without_docker_there_is_nothing_to_look_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    socket, data = tmp_path / "docker.sock", tmp_path / "docker"
    monkeypatch.setattr("openbalena.operations.engines._SOCKET", socket)
    monkeypatch.setattr("openbalena.operations.engines._DATA", data)
    assert installed_engine(lab=False) is None
    data.mkdir()  # the engine is stopped
    assert installed_engine(lab=False) == Engine(host=f"unix://{socket}")
    program = tmp_path / "docker-cli"
    program.write_text("#!/bin/sh\necho default\n")
    program.chmod(0o755)
    data.rmdir()
    program.rename(data)
    monkeypatch.setattr("openbalena.operations.engines._DATA", tmp_path / "nothing")
    assert installed_engine(lab=False) is None
    data.write_text("#!/bin/sh\necho rootless\n")
    assert installed_engine(lab=False) == Engine()
    monkeypatch.setenv("DOCKER_HOST", "ssh://somewhere")
    assert installed_engine(lab=False) == Engine()


@pytest.fixture
def deployment(tmp_path: Path) -> dict[str, str]:
    store.ensure_files(tmp_path / "pki", TLD)
    return {**tokens.missing_tokens({}), "PKI_DIR": str(tmp_path / "pki")}


@pytest.mark.parametrize("noted", [True, False], ids=["mark with tokens", "mark of the version before"])
def test_an_env_made_anew_is_not_let_at_a_marked_volume(
    deployment: dict[str, str], noted: bool, tmp_path: Path
) -> None:
    known = {name: value for name, value in deployment.items() if name not in ("PKI_DIR", "HAPROXY_PASSWORD")}
    authority = (tmp_path / "pki" / "ca-0.pem").read_bytes()
    mark = takeover.is_deployed(deployment) if noted else {}
    found = takeover.Found("one", known, {"ca-0.pem": authority}, marked=True, deployed=mark)
    assert takeover.conflicts(found, deployment, tmp_path / ".env") == ""
    rotated = {**deployment, "JSON_WEB_TOKEN_SECRET": "f" * 32, "COOKIE_SESSION_SECRET": "e" * 32}
    assert takeover.conflicts(found, rotated, tmp_path / ".env") == ""
    anew = {
        **tokens.missing_tokens({}),
        "PKI_DIR": deployment["PKI_DIR"],
        "SUPERUSER_PASSWORD": known["SUPERUSER_PASSWORD"],
    }
    said = takeover.conflicts(found, anew, tmp_path / ".env")
    assert "JSON_WEB_TOKEN_SECRET" in said and "one_resin-data" in said and "run ./open-balena.sh config" in said


def test_the_mark_holds_no_password(deployment: dict[str, str]) -> None:
    assert deployment["SUPERUSER_PASSWORD"] and deployment["HAPROXY_PASSWORD"]
    noted = takeover.is_deployed({**deployment, "SUPERUSER_PASSWORD": "short"})
    assert len(noted) > 5 and not [name for name in noted if "PASSWORD" in name]
