"""How many tasks a service can have, and why not more."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_builders import cluster, node, service

from openbalena.swarm.scaling_limits import PLACES, scaling_findings

CASES: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("scaling.yml").read_text())
CONFIGURATION = Path(__file__).resolve().parents[3] / "images" / "haproxy" / "haproxy.cfg"
SETTINGS = {"DB_MAX_CONNECTIONS": "300", "API_WORKERS": "1"}
STACK = cluster(
    [
        service("api", replicas=2, update_order="start-first"),
        service("registry", replicas=2, update_order="start-first"),
        service("db", constraints=("node.labels.openbalena.data.db-data == true",)),
        service("haproxy", replicas=None, constraints=("node.labels.openbalena.ingress == true",)),
        service("web"),
        service("far", constraints=("node.labels.far == true",)),
    ],
    [],
    [node(1, labels={"openbalena.data.db-data": "true"}), node(2), node(3), node(4, availability="drain")],
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["name"]))
def test_what_limits_the_number_of_tasks(case: dict[str, Any]) -> None:
    found = [f"{'' if each.fatal else 'warning: '}{each}" for each in scaling_findings(case["asked"], STACK, SETTINGS)]
    assert len(found) == len(case["findings"]) and all(map(str.startswith, found, case["findings"])), found


def test_an_external_database_has_its_own_limit() -> None:
    external = cluster([service("api", replicas=2)], [], 9)
    assert scaling_findings({"api": 9}, external, SETTINGS) == []


def test_the_places_are_those_of_haproxy() -> None:
    found = re.findall(r'server-template task (\d+) "\$\{TASKS\}([a-z]+):', CONFIGURATION.read_text())
    assert {name: int(number) for number, name in found if int(number) > 1} == PLACES
