"""What a migration would copy and what it refuses, and how the two deployments are stopped and started."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cluster_builders import cluster, node
from compose_program import NAME, ComposeProgram, add_container, workspace_of
from fake_engine import FakeEngine
from hearing import Listener

from openbalena.base.errors import OperationError, UsageError
from openbalena.machine import takeover
from openbalena.machine.migration import Migration
from openbalena.machine.volume_copy import Copier
from openbalena.operations import deployment as deployments
from openbalena.operations import migration_sides
from openbalena.operations.migration_plan import MigrationPlan, Planner
from openbalena.operations.migration_sides import ComposeSide, SwarmSide, read_sides
from openbalena.operations.start_machine import StartResult
from openbalena.operations.workspace import Workspace
from openbalena.storage import record
from openbalena.storage.record import VolumeLocation, VolumeRegistry
from openbalena.swarm import state

SERVICES = """
services:
  api: {image: a}
  db: {image: a, volumes: ["db-data:/data"]}
  redis: {image: a, volumes: ["redis-data:/data"]}
volumes: {db-data: {}, redis-data: {}}
"""
EARLIER = Migration("swarm", "openbalena", "then", "tools")
LABELS = {"openbalena.data.db-data": "true", "openbalena.data.pki-data": "true"}


class World:
    """A machine that is the only node of a swarm, and what is changed of that."""

    def __init__(self, workspace: Workspace, program: ComposeProgram, fake: FakeEngine) -> None:
        self.workspace, self.program, self.fake = workspace, program, fake
        self.settings = {"STACK_NAME": "openbalena", "USE_NFS": "false", "PKI_DIR": "/pki"}
        self.cluster = cluster([], [], [node(1, labels=LABELS)])
        self.places: dict[str, VolumeLocation] = {}
        self.free = 2**30
        self.other_ca = False

    def plan(self, to: Any = "swarm", known: Migration | None = None) -> MigrationPlan:
        with self.fake.engine.client() as client:
            sides = read_sides(self.workspace, Listener(), 60.0)
            return Planner(self.fake.engine, client, self.workspace, Listener(), sides, 60.0).plan(to, known)


@pytest.fixture
def world(tmp_path: Path, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(*workspace_of(SERVICES, tmp_path, fake, monkeypatch), fake)
    for name in ("db", "redis", "api"):
        add_container(fake, name)
    labels = {"com.docker.compose.project": NAME}
    fake.volumes = {f"{NAME}_{name}": labels for name in ("db-data", "pki-data", "resin-data", "mine")}
    compiled = SimpleNamespace(stateful={"db-data": "db", "pki-data": "balena-ca"})
    monkeypatch.setattr(
        deployments, "load", lambda *args, **words: SimpleNamespace(settings=made.settings, compiled=compiled)
    )
    monkeypatch.setattr(state, "read_cluster", lambda client, stack: made.cluster)
    monkeypatch.setattr(record, "read_registry", lambda client, stack: VolumeRegistry(places=made.places))
    monkeypatch.setattr(takeover, "has_other_ca", lambda standalone: made.other_ca)
    monkeypatch.setattr(Planner, "_prepare", lambda *args: None)
    monkeypatch.setattr(Copier, "measure", lambda self, names, _: (dict.fromkeys(names, 2**20), made.free))
    return made


def test_volumes_with_data_are_copied_and_others_named(world: World) -> None:
    plan = world.plan()
    assert [(copy.name, copy.source, copy.target) for copy in plan.volumes] == [
        ("db-data", f"{NAME}_db-data", "openbalena_db-data"),
        ("pki-data", f"{NAME}_pki-data", "openbalena_pki-data"),
    ]
    assert plan.volumes[0].skipped == () and "ca-0-key.pem" in plan.volumes[1].skipped
    assert (plan.sizes, plan.left, plan.image, plan.running) == (
        {"db-data": 2**20, "pki-data": 2**20},
        (f"{NAME}_mine",),
        "image",
        True,
    )


def test_what_is_refused(world: World) -> None:
    world.fake.volumes["openbalena_db-data"] = {}
    world.settings["USE_NFS"] = "true"
    world.cluster = cluster([], [], [node(1), node(2, labels=LABELS)])
    world.places = {"db-data": VolumeLocation(world.cluster.nodes[1].id, "node2")}
    with pytest.raises(OperationError) as refused:
        world.plan()
    nfs, elsewhere, label, occupied = str(refused.value).split("\n  ")[1:]
    assert "USE_NFS" in nfs
    assert "volume db-data of the stack is on node2, not on node1" in elsewhere and "storage forget" in elsewhere
    assert "openbalena.data.pki-data=true is on node2, but the data is on node1" in label
    assert "already volumes of the stack openbalena: openbalena_db-data" in occupied


def test_a_volume_that_is_gone_is_not_left_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Compose deployment would start without its data."""
    monkeypatch.setattr(SwarmSide, "image", lambda self, client: "x")
    world.fake.volumes = {"openbalena_pki-data": {}}
    world.places = {name: VolumeLocation(world.cluster.this_node, "node1") for name in ("db-data", "pki-data")}
    with pytest.raises(OperationError, match="volume db-data of the stack was on node1, which no longer has it") as no:
        world.plan("compose")
    assert "pki-data" not in str(no.value)


def test_volumes_of_an_earlier_migration_are_replaced(world: World) -> None:
    world.fake.volumes["openbalena_db-data"] = {}
    plan = world.plan(known=EARLIER)
    assert plan.replaced == ("openbalena_db-data",)
    with pytest.raises(OperationError, match="already volumes of the stack openbalena: openbalena_db-data"):
        world.plan(known=replace(EARLIER, stack="other"))


def test_the_copies_need_space(world: World) -> None:
    world.free = 2**20
    with pytest.raises(OperationError, match="the copies need 3 MiB, but 1 MiB are free"):
        world.plan()


def test_what_does_not_run_cannot_be_migrated_unless_it_was_begun(world: World) -> None:
    for container in world.fake.containers.values():
        container["State"]["Status"] = "exited"
    with pytest.raises(UsageError, match="the Compose deployment one does not run here: run ./open-balena.sh up first"):
        world.plan()
    plan = world.plan(known=EARLIER)
    assert (plan.image, plan.running) == ("tools", False)


def test_a_replaced_ca_is_not_mixed_with_the_old_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.other_ca = True
    monkeypatch.setattr(SwarmSide, "image", lambda self, client: "x")
    world.fake.volumes["openbalena_db-data"] = {}
    with pytest.raises(OperationError, match="docker volume rm one_pki-data one_certs-data"):
        world.plan("compose", EARLIER)


def compose_side(world: World) -> ComposeSide:
    return read_sides(world.workspace, Listener(), 60.0).compose


def test_what_writes_last_stops_last(world: World) -> None:
    compose_side(world).stop()
    assert world.program.done == ["stop --timeout 5 api", "stop"]


def test_containers_that_are_there_are_started_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr(migration_sides, "wait_until_healthy", lambda *args: started.append("healthy"))
    monkeypatch.setattr(takeover, "mark_adopted", lambda standalone: started.append("adopted"))

    def start_machine(options: Any, workspace: Workspace, reporter: Listener) -> StartResult:
        started.append("up")
        return StartResult(NAME, compose_side(world).standalone.settings, certificate_error="no certificate")

    monkeypatch.setattr(migration_sides, "start_machine", start_machine)
    compose_side(world).resume()
    assert (world.program.done, started) == (["start"], ["healthy"])
    del world.fake.containers[f"{NAME}-api-1"]  # by a command that was killed while it removed them
    compose_side(world).resume()
    assert (world.program.done, started) == (["start"], ["healthy", "adopted", "up"])


def test_the_record_is_removed_with_the_last_of_the_old_volumes(world: World) -> None:
    with world.fake.engine.client() as client:
        assert compose_side(world).kept(client)[-1] == f"{NAME}_resin-data"
        assert read_sides(world.workspace, Listener(), 60.0).swarm.kept(client) == []
        assert compose_side(world).database(client) == f"{NAME}-db-1"
