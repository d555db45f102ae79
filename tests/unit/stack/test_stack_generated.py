"""The committed stack files."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from openbalena import compose, stack
from openbalena.operations.generated_stacks import generated_files

ROOT = Path(__file__).parents[3]
FILES = ("docker-stack.yml", "docker-stack-internal.yml", "docker-stack-nfs.yml.template")


@pytest.mark.parametrize("name", [*FILES, "docs/compose-to-swarm.md", "docs/x-swarm.schema.json"])
def test_they_are_what_compiling_gives(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPOSE_PROFILES", "admin")
    assert (ROOT / name).read_text() == generated_files(ROOT)[name], "run ./open-balena.sh stack render --committed"


@pytest.mark.parametrize("names", [FILES[:1], FILES[1:2], FILES[2:], FILES[:2], FILES])
def test_docker_accepts_them_alone_and_together(names: tuple[str, ...], accepted: Callable[..., str]) -> None:
    accepted(*((ROOT / name).read_text() for name in names))


def test_they_hold_what_their_names_say() -> None:
    default, internal, nfs = (yaml.safe_load((ROOT / name).read_text()) for name in FILES)
    assert sorted(default["services"]) == ["api", "balena-ca", "haproxy", "haproxy-certs", "redis", "registry", "vpn"]
    assert sorted(internal["services"]) == ["db", "s3"]
    assert {"db-data", "s3-data", "redis-data"} <= set(nfs["volumes"])
    assert "${NFS_HOST:-nfs.invalid}" in nfs["volumes"]["db-data"]["driver_opts"]["o"]


def test_every_profile_compiles_without_a_warning() -> None:
    project = compose.load([ROOT / "docker-compose.yml"], environment={}, profiles=["*"], interpolate=False)
    compiled = stack.compile(project)
    assert [str(item) for item in compiled.diagnostics if item.severity is not stack.Severity.NOTE] == []


def test_nothing_secret_is_in_the_environment() -> None:
    for name in FILES[:2]:
        for service in yaml.safe_load((ROOT / name).read_text())["services"].values():
            words = ("PASSWORD", "_KEY", "SECRET", "TOKEN_AUTH_BUILDER")
            assert [key for key in service.get("environment", {}) if any(word in key for word in words)] in (
                [],
                ["DB_PASSWORD"],  # db: fixed in its image
            )
