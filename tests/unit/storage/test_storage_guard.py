"""What a node says of its volumes before a service starts on them, and what is refused for it."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from fake_engine import FakeEngine
from fake_swarm import Row, stack_service

from openbalena.base.errors import OperationError
from openbalena.storage import guard
from openbalena.storage.record import VolumeLocation, VolumeRegistry
from openbalena.swarm import planned_services, state

CASES = yaml.safe_load(Path(__file__).with_name("guard.yml").read_text(encoding="utf-8"))
LABEL = "openbalena.data.db-data"
ON_NFS = {"db-data": {"type": "nfs", "o": "addr=nfs", "device": ":/db"}, "": {"type": "nfs", "o": "addr=nfs"}}
DOCUMENT = {
    "services": {
        "db": {
            "image": "db:1",
            "volumes": ["ob_db-data:/data"],
            "deploy": {"placement": {"constraints": [f"node.labels.{LABEL} == true"]}},
        }
    }
}


def guarded(fake: FakeEngine, record: VolumeRegistry, on_nfs: Mapping[str, Mapping[str, str]]) -> str:
    """What is refused, "" where nothing is."""
    with fake.engine.client() as client:
        planned = planned_services.planned_services(DOCUMENT, "ob")
        try:
            guard.require_data(fake.engine, client, planned, state.read_cluster(client, "ob"), record, on_nfs)
        except OperationError as error:
            return str(error)
    return ""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_a_service_starts_on_the_volume_that_it_is_meant_for(case: dict[str, object], fake: FakeEngine) -> None:
    fake.swarm.node("node1", "manager", **{LABEL: "true"})
    said = case.get("node says")
    fake.swarm.logs["openbalena-look"] = [*([str(said)] if said else []), "openbalena-job-end"]
    place = VolumeLocation("id-node1", "node1", bool(case["on NFS"]))
    record = VolumeRegistry({"db-data": place}) if case["recorded"] else VolumeRegistry()
    refused = guarded(fake, record, ON_NFS if case["on NFS"] else {})
    assert (case["refused"] in refused) if case["refused"] else refused == ""  # type: ignore[operator]
    looked = any(each.startswith("POST /services/create") for each in fake.swarm.asked)
    assert looked == case["looked at"]


def test_a_service_that_runs_has_its_volume_and_nobody_looks(fake: FakeEngine) -> None:
    fake.swarm.node("node1", "manager", **{LABEL: "true"})
    fake.swarm.create("services", stack_service("db", volumes=["db-data"]))
    fake.swarm.logs["openbalena-look"] = ["db-data empty", "openbalena-job-end"]
    assert guarded(fake, VolumeRegistry({"db-data": VolumeLocation("id-node1", "node1")}), {}) == ""
    assert fake.swarm.asked == []


def test_a_node_that_cannot_look_is_named(fake: FakeEngine) -> None:
    fake.swarm.node("node1", "manager", **{LABEL: "true"})
    fake.swarm.fates["openbalena-look"] = [[Row(0, "rejected", "No such image: db:1")]]
    refused = guarded(fake, VolumeRegistry({"db-data": VolumeLocation("id-node1", "node1")}), {})
    assert refused == "could not inspect the volumes on node1: No such image: db:1"
