"""Which releases cannot be deployed again, and why."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_builders import service

from openbalena.swarm import irreversible

CASES: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("irreversible.yml").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["name"]))
def test_steps_without_a_way_back(case: dict[str, Any]) -> None:
    now, then = case.get("db", ["db:1", "db:1"])
    role, accepted = case.get("roles", ["", ""])
    api = {"image": "api:1", "environment": {"DB_USER": role} if role else None}
    document = {"services": {"db": {"image": then}, "api": api}}
    found = irreversible.reasons({"db": service("db", image=now)}, document, accepted, case.get("missing", []))
    assert len(found) == bool(case["refused"]) and all(reason.startswith(case["refused"]) for reason in found)


def test_an_external_database_has_neither_version_nor_role() -> None:
    document: dict[str, Any] = {"services": {"api": {"image": "api:1", "environment": {"DB_USER": "theirs"}}}}
    assert irreversible.reasons({"db": service("db", image="db:6")}, document, "openbalena_a t", []) == []
    assert irreversible.reasons({}, {"services": {"db": {"image": "db:5"}}}, "openbalena_a t", []) == []
