"""swarm-build: what is built, and whether it is pushed or copied to the nodes that lack it."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine
from hearing import Listener

from openbalena.base.project import Project
from openbalena.docker.engine import Engine
from openbalena.images import Build, spread
from openbalena.lab import base
from openbalena.operations import build_images as operation
from openbalena.operations.build_images import (
    BuildOptions,
    BuildResult,
    NodeImages,
    ServiceImage,
    build_images,
)
from openbalena.operations.workspace import Workspace

IMAGE = """\
  {name}:
    image: ${{{variable}_IMAGE:-openbalena/{name}:latest}}
    build: {{context: ./image, args: {{BASE: "{base}"}}}}
"""
NETWORKS = "x-swarm: {networks: {default: {driver: overlay}}}\n"


class Docker:
    """What was done, in order; `there` are the images of each node by its name, `silent` those that do not answer."""

    def __init__(self, fake: FakeEngine) -> None:
        self.fake = fake
        self.done = fake.image_work
        self.there: dict[str, set[str]] = {}
        self.silent: tuple[str, ...] = ()
        self.broken: tuple[str, ...] = ()

    def build(self, engine: Engine, what: Build, report: Any) -> None:
        self.done.append(f"build {what.service}")
        report(f"building {what.service} line by line")
        self.fake.images |= set(what.names)

    def query(self, engines: Iterable[Engine], names: list[str]) -> tuple[list[spread.NodeImages], list[str]]:
        found, unreachable = [], []
        for engine in engines:
            name = engine.context or "node1"
            if name in self.silent:
                unreachable.append(f"{name} cannot be reached")
                continue
            ids = self.fake.images if name == "node1" else self.there.setdefault(name, set())
            found.append(
                spread.NodeImages(engine, name, f"id-{name}", {each: f"id of {each}" for each in names if each in ids})
            )
        return found, unreachable

    def transfer(self, source: Engine, names: list[str], targets: list[Engine]) -> list[str]:
        self.done.append(f"copy {len(names)} to {' '.join(target.context for target in targets)}")
        for target in targets:
            if target.context not in self.broken:
                self.there[target.context] |= set(names)
        return [f"{target.context}: no space" for target in targets if target.context in self.broken]


@pytest.fixture
def docker(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> Docker:
    found = Docker(fake)
    fake.images |= {"base:1"}
    monkeypatch.setenv("PATH", str(Path(fake.engine.cli).parent), prepend=":")
    monkeypatch.setattr("openbalena.images.build.build", found.build)
    monkeypatch.setattr(spread, "query_nodes", found.query)
    monkeypatch.setattr(spread, "transfer", found.transfer)
    return found


def workspace_with(project: Project, directory: Path, *names: str, base_image: str = "base:1") -> Workspace:
    root = directory / "root"
    (root / "image").mkdir(parents=True)
    (root / "lab").mkdir()
    (root / "image" / "Dockerfile").write_text("ARG BASE\nFROM $BASE\n")
    built = "".join(IMAGE.format(name=name, variable=name.upper(), base=base_image) for name in names)
    (root / "docker-compose.yml").write_text(f'services:\n  api: {{image: "api:7"}}\n{built}{NETWORKS}')
    (root / "lab" / "docker-compose.yml").write_text("services: {}\n")
    return Workspace(replace(project, root=root), lab=False)


@pytest.fixture
def workspace(project: Project, tmp_path: Path) -> Workspace:
    return workspace_with(project, tmp_path, "web", "front")


def built(workspace: Workspace, *nodes: str, listener: Listener | None = None, **options: Any) -> BuildResult:
    return build_images(BuildOptions(nodes, **options), workspace, listener or Listener())


@pytest.mark.parametrize("verbose", [True, False])
def test_what_is_missing_is_built_and_what_exists_gets_its_plain_name(
    verbose: bool, workspace: Workspace, docker: Docker
) -> None:
    listener = Listener()
    first = built(workspace, listener=listener, verbose=verbose)
    assert docker.done == ["build web", "build front"]
    assert [(each.service, each.built) for each in first.images] == [("web", True), ("front", True)]
    assert first.failures == () and first.nodes == (NodeImages("node1", ()),) and not first.pushed
    said = ["building web line by line"] if verbose else []
    assert listener.heard[: 1 + verbose] == [f"web: building {first.images[0].image} …", *said]
    docker.done.clear()
    again = built(workspace, listener=(listener := Listener()))
    assert again.images == tuple(ServiceImage(each.service, each.image, built=False) for each in first.images)
    names = [(each.image, f"openbalena/{each.service}:latest") for each in again.images]
    assert docker.done == [f"tag {content} {plain}" for content, plain in names] and listener.heard == []


def test_a_pull_of_a_base_image_is_announced(workspace: Workspace, docker: Docker) -> None:
    docker.fake.images.clear()
    listener = Listener()
    built(workspace, listener=listener)
    assert docker.done == ["pull base:1", "build web", "build front"] and listener.heard[0] == "pulling base:1"


@pytest.mark.parametrize("prefix", ["registry.example.com/ob", "openbalena"])
def test_images_are_pushed_to_a_registry(prefix: str, workspace: Workspace, docker: Docker) -> None:
    with workspace.project.env_file.open("a") as file:
        file.write(f"IMAGE_PREFIX={prefix}\n")
    listener = Listener()
    result = built(workspace, "node2", listener=listener, push=prefix == "openbalena")
    assert result.pushed and result.nodes == () and result.failures == () and len(result.images) == 2
    web, front = (each.image for each in result.images)
    pushed = [f"push {name}" for image in ("web", "front") for name in _names(result, image, prefix)]
    assert docker.done == ["build web", "build front", *pushed]
    assert listener.heard[2:] == [f"web: pushing {web} …", f"front: pushing {front} …"]


def _names(result: BuildResult, service: str, prefix: str) -> list[str]:
    (image,) = (each.image for each in result.images if each.service == service)
    return [image, f"{prefix}/{service}:latest"]


def test_nodes_get_what_they_lack_together_where_it_is_the_same(workspace: Workspace, docker: Docker) -> None:
    first = built(workspace)
    docker.done.clear()
    docker.there["node4"] = set(_names(first, "web", "openbalena"))
    listener = Listener()
    for node in ("node2", "node3", "node4", "node5"):
        docker.fake.swarm.node(node)
    result = built(workspace, "node2", "node3", "node4", listener=listener)
    assert [words for words in docker.done if words.startswith("copy")] == ["copy 4 to node2 node3", "copy 2 to node4"]
    assert result.failures == () and [node.hostname for node in result.nodes] == ["node1", "node2", "node3", "node4"]
    assert all(node.missing == () for node in result.nodes)
    assert listener.told == ["copying 4 images to node2, node3 …", "copying 2 images to node4 …"]
    assert len(listener.warnings) == 1 and "have the images: node5 (name them" in listener.warnings[0]


def test_each_failure_is_named_once(workspace: Workspace, docker: Docker) -> None:
    docker.silent, docker.broken = ("node2",), ("node3",)
    result = built(workspace, "node2", "node3")
    lacking = result.nodes[1]
    assert lacking.hostname == "node3" and len(lacking.missing) == 4
    assert result.failures == (
        "node2 cannot be reached",
        "node3: no space",
        *(f"node3 lacks {name}" for name in lacking.missing),
    )
    docker.broken, docker.silent = (), ("node2", "node2")
    assert built(workspace, "node2", "node2").failures == ("node2 cannot be reached",)


def test_a_node_that_joined_again_is_checked_once(workspace: Workspace, docker: Docker) -> None:
    docker.fake.swarm.node("before")["Description"]["Hostname"] = "node1"
    docker.fake.swarm.nodes["id-before"]["Status"] = {"State": "down", "Addr": "10.9.0.1"}
    listener = Listener()
    assert built(workspace, listener=listener).failures == () and listener.warnings == []


def test_an_engine_that_is_no_manager_does_not_know_the_other_nodes(workspace: Workspace, docker: Docker) -> None:
    docker.fake.says = {"ControlAvailable": False}
    listener = Listener()
    assert built(workspace, listener=listener).failures == ()
    assert listener.warnings == ["this engine is not a manager, so the swarm's other nodes are unknown"]


def test_without_images_of_ours_nothing_is_done(project: Project, tmp_path: Path, docker: Docker) -> None:
    listener = Listener()
    assert built(workspace_with(project, tmp_path), listener=listener) == BuildResult((), pushed=False)
    assert docker.done == [] and listener.heard == []


@pytest.mark.parametrize(
    ("lab", "image", "first"), [(True, base.IMAGE, 1), (True, "base:1", 0), (False, base.IMAGE, 0)]
)
def test_the_stand_ins_base_is_made_first(
    lab: bool, image: str, first: int, project: Project, tmp_path: Path, docker: Docker, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker.fake.images.add(image)
    monkeypatch.setattr(base, "ensure_base_image", lambda engine: docker.done.append("base"))
    monkeypatch.setattr(operation, "default_engine", lambda lab: Engine())
    workspace = replace(workspace_with(project, tmp_path, "web", base_image=image), lab=lab)
    with workspace.project.env_file.open("a") as file:
        file.write("SWARM_ENCRYPTED=false\nIMAGE_PREFIX=registry.example.com/ob\n")
    result = built(workspace)
    assert docker.done[: first + 1] == [*["base"] * first, "build web"]
    assert result.pushed is not lab, "the lab's images are in no registry"
