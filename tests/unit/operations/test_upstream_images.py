"""openBalena's own images for nodes that reach no registry: what is built, pulled, named and copied."""

from types import SimpleNamespace
from typing import Any

import pytest

from openbalena.base.errors import OperationError
from openbalena.docker.engine import Engine
from openbalena.images import build, spread
from openbalena.operations import upstream_images

SERVICES = {
    "haproxy": {"image": "openbalena/haproxy:latest"},
    "api": {"image": "balena/open-balena-api:1@sha256:abc"},
    "db": {"image": "registry.example.com:5000/postgres:17"},
    "tunnel": {"image": "tunnel:1"},
}
API, DB = "balena/open-balena-api:1@sha256:abc", "registry.example.com:5000/postgres:17"
NAMES = {
    "HAPROXY_IMAGE": "openbalena/haproxy:c-1",
    "API_IMAGE": "openbalena-original/open-balena-api:1",
    "DB_IMAGE": "openbalena-original/postgres:17",
}
TARGETS = [Engine("node1"), Engine("node2")]


class Docker:
    """What was done, in order; `there` are the images of this machine's engine."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.there: set[str] = set()
        self.refuses = ""
        self.failed: list[str] = []

    def run(self, *words: str) -> str:
        self.done.append(" ".join(words))
        if self.refuses and words[0] == "pull":
            raise OperationError(self.refuses)
        return ""

    def transfer(self, source: Engine, names: list[str], targets: list[Engine]) -> list[str]:
        self.done.append(f"copy {' '.join(names)} to {' '.join(target.name for target in targets)}")
        return self.failed


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch) -> Docker:
    found = Docker()
    haproxy = SimpleNamespace(service="haproxy", variable="HAPROXY_IMAGE", image="openbalena/haproxy:c-1")
    monkeypatch.setattr(Engine, "docker", lambda engine, *words, **options: found.run(*words))
    monkeypatch.setattr(upstream_images, "planned_builds", lambda deployment, lab: [] if lab else [haproxy])
    monkeypatch.setattr(upstream_images, "tagged", lambda builds, base_id: builds)
    monkeypatch.setattr(build, "build", lambda engine, what, report: found.done.append(f"build {what.service}"))
    monkeypatch.setattr(build, "image_id", lambda engine, name: "id" if name in found.there else "")
    monkeypatch.setattr(spread, "transfer", found.transfer)
    return found


def copied(told: list[str]) -> dict[str, str]:
    document: dict[str, Any] = {"services": {name: {} for name in SERVICES if name != "tunnel"}}
    deployment: Any = SimpleNamespace(
        compose=SimpleNamespace(services=SERVICES), compiled=SimpleNamespace(document=document)
    )
    return upstream_images.copy_to(deployment, Engine("here"), TARGETS, told.append)


def test_each_image_of_the_stack_is_built_or_pulled_and_copied_under_its_own_name(docker: Docker) -> None:
    told: list[str] = []
    assert copied(told) == NAMES
    assert docker.done == [
        "build haproxy",
        *(f"pull --quiet {API}", f"tag {API} {NAMES['API_IMAGE']}"),
        *(f"pull --quiet {DB}", f"tag {DB} {NAMES['DB_IMAGE']}"),
        f"copy {' '.join(NAMES.values())} to node1 node2",
    ]
    assert told == ["building haproxy", f"pulling {API}", f"pulling {DB}", "copying 3 images to node1, node2"]


def test_what_this_machine_has_is_not_pulled(docker: Docker) -> None:
    docker.there = {API, DB}
    docker.refuses = "no registry"
    assert copied([]) == NAMES and not any(words.startswith("pull") for words in docker.done)


def test_an_image_that_cannot_be_pulled_is_named(docker: Docker) -> None:
    docker.refuses = "no registry"
    with pytest.raises(OperationError, match="^balena/open-balena-api:1@sha256:abc cannot be pulled: no registry$"):
        copied([])
    assert docker.done == ["build haproxy", f"pull --quiet {API}"]


def test_nodes_that_did_not_get_them_are_named(docker: Docker) -> None:
    docker.failed = ["node1: no space", "node2: no space"]
    with pytest.raises(OperationError, match="copied to every node:\n  node1: no space\n  node2: no space$"):
        copied([])
