"""openBalena's own images for nodes that reach no registry: what is built, pulled, named and copied."""

from types import SimpleNamespace
from typing import Any

import pytest
from fake_engine import FakeEngine
from fake_swarm import RefusedError

from openbalena.base.errors import OperationError
from openbalena.docker.engine import Engine
from openbalena.images import build, spread
from openbalena.operations import upstream_images

SERVICES = {
    "haproxy": {"image": "openbalena/haproxy:latest"},
    "api": {"image": f"balena/open-balena-api:1@sha256:{'a' * 64}"},
    "db": {"image": "registry.example.com:5000/postgres:17"},
    "tunnel": {"image": "tunnel:1"},
}
API, DB = f"balena/open-balena-api:1@sha256:{'a' * 64}", "registry.example.com:5000/postgres:17"
NAMES = {
    "HAPROXY_IMAGE": "openbalena/haproxy:c-1",
    "API_IMAGE": "openbalena-original/open-balena-api:1",
    "DB_IMAGE": "openbalena-original/postgres:17",
}
TARGETS = [Engine("node1"), Engine("node2")]


class Docker:
    """What was done, in order; what cannot be copied to the nodes."""

    def __init__(self, fake: FakeEngine) -> None:
        self.fake = fake
        self.done = fake.image_work
        self.failed: list[str] = []

    def build(self, engine: Engine, what: Any, report: Any) -> None:
        self.done.append(f"build {what.service}")
        self.fake.images.add(what.image)

    def transfer(self, source: Engine, names: list[str], targets: list[Engine]) -> list[str]:
        self.done.append(f"copy {' '.join(names)} to {' '.join(target.name for target in targets)}")
        return self.failed


@pytest.fixture
def docker(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> Docker:
    found = Docker(fake)
    haproxy = SimpleNamespace(service="haproxy", variable="HAPROXY_IMAGE", image="openbalena/haproxy:c-1")
    monkeypatch.setattr(upstream_images, "planned_builds", lambda deployment, lab: [] if lab else [haproxy])
    monkeypatch.setattr(upstream_images, "tagged", lambda builds, base_id: builds)
    monkeypatch.setattr(build, "build", found.build)
    monkeypatch.setattr(spread, "transfer", found.transfer)
    return found


def copied(docker: Docker, told: list[str] | None = None) -> dict[str, str]:
    document: dict[str, Any] = {"services": {name: {} for name in SERVICES if name != "tunnel"}}
    deployment: Any = SimpleNamespace(
        compose=SimpleNamespace(services=SERVICES), compiled=SimpleNamespace(document=document)
    )
    return upstream_images.copy_to(deployment, docker.fake.engine, TARGETS, (told if told is not None else []).append)


def test_each_image_of_the_stack_is_built_or_pulled_and_copied_under_its_own_name(docker: Docker) -> None:
    told: list[str] = []
    assert copied(docker, told) == NAMES
    assert docker.done == [
        "build haproxy",
        *(f"pull {API.replace(':1@', '@')}", f"tag {API} {NAMES['API_IMAGE']}"),
        *(f"pull {DB}", f"tag {DB} {NAMES['DB_IMAGE']}"),
        f"copy {' '.join(NAMES.values())} to node1 node2",
    ]
    assert told == ["building haproxy", f"pulling {API}", f"pulling {DB}", "copying 3 images to node1, node2"]


def test_what_this_machine_has_is_not_pulled(docker: Docker) -> None:
    docker.fake.images |= {API, DB}
    assert copied(docker) == NAMES and not any(words.startswith("pull") for words in docker.done)


def test_an_image_that_cannot_be_pulled_is_named(docker: Docker) -> None:
    docker.fake.swarm.refusals.append(("POST", "/images/create", RefusedError(500, "no registry")))
    with pytest.raises(OperationError, match=f"^{API} cannot be pulled: .*no registry$"):
        copied(docker)
    assert docker.done == ["build haproxy"]


def test_nodes_that_did_not_get_them_are_named(docker: Docker) -> None:
    docker.failed = ["node1: no space", "node2: no space"]
    with pytest.raises(OperationError, match="copied to every node:\n  node1: no space\n  node2: no space$"):
        copied(docker)
