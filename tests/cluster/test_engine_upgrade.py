"""The engines of a running cluster are upgraded node by node, as docs/docker-swarm-deployment.md says."""

import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from own_lab import running_lab
from swarm_project import Small, fetch_busybox
from waiting import eventually

from openbalena.docker.engine import Engine
from openbalena.lab import lifecycle, node, paths
from openbalena.lab import state as lab_state
from openbalena.lab.roots import build_root
from openbalena.operations.engines import default_engine

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]
# Debian's suites, by the engine that they have in November 2026.
OLD, NEW = ("trixie", "26.1."), (lifecycle.SUITE, "28.")
NODES = ("node1", "node2", "node3")


@pytest.fixture(scope="module")
def old_engines() -> Iterator[None]:
    """A lab of three nodes with the old engine; its root is kept with the others, since it takes a minute to create."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lifecycle, "SUITE", OLD[0])
        with running_lab():
            yield


@pytest.fixture
def small(old_engines: None, tmp_path: Path) -> Small:
    made = Small(tmp_path, fetch_busybox(tmp_path))
    for command in ("swarm-init", "swarm-build", "swarm-up"):
        result = made.run(command)
        assert result.code == 0, result
    return made


def engine_of(name: str) -> Engine:
    return next(item for item in default_engine(True).nodes if item.name == name)


def versions() -> dict[str, str]:
    listed = default_engine(True).docker("node", "ls", "--format", "{{.Hostname}} {{.EngineVersion}}")
    return dict(line.split() for line in listed.splitlines())


def upgrade(name: str) -> None:
    """What a package manager does: stop the daemon, replace the programs, start it with the same data."""
    lab = lab_state.require()
    lab_state.save(replace(lab, root=str(build_root("node", NEW[0], lifecycle.PACKAGES))))
    process = node.process(name)
    assert process
    os.kill(process, signal.SIGTERM)
    eventually(f"the engine of {name} to end", lambda: node.process(name) is None)
    # What the old programs left beside Docker's data belongs to their root.
    for layer in ("upper", "work"):
        shutil.rmtree(paths.directory() / "nodes" / name / layer)
    lifecycle.start_node(name)


def starts() -> list[str]:
    """One line for each start of store, which its volume on node1 holds."""
    engine = engine_of("node1")
    image = next(i for i in engine.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split() if "web:c-" in i)
    words = ("--entrypoint", "/bin/sh", "-v", "small_store-data:/data:ro", image, "-c", "cat /data/starts")
    return engine.docker("run", "--rm", *words).splitlines()


def test_engines_are_upgraded_node_by_node(small: Small) -> None:
    before = starts()
    assert all(version.startswith(OLD[1]) for version in versions().values()), versions()
    for number, name in enumerate(NODES, 1):
        result = small.run("swarm-drain", name, "--yes")
        assert result.code == 0, result
        assert engine_of(name).docker("ps", "--quiet") == ""
        upgrade(name)
        result = small.run("swarm-activate", name)
        assert result.code == 0, result
        assert sorted(each.startswith(NEW[1]) for each in versions().values()).count(True) == number, versions()
        # Every command works on a cluster of both versions.
        assert small.run("swarm-status").code == 0
        if number == 1:
            (small.directory / "page").write_text("two\n")
            result = small.run("swarm-up")
            assert result.code == 0, result
    result = small.run("swarm-rebalance")
    assert result.code == 0, result
    after = starts()
    assert after[: len(before)] == before and len(after) > len(before)
