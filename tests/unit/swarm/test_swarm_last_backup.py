"""The last backup, from the record of commands: as swarm-status shows it, and as doctor judges it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_builders import cluster, service

from openbalena import settings
from openbalena.base.project import Project
from openbalena.doctor.checks import backup
from openbalena.doctor.facts import Facts
from openbalena.swarm.audit import KEPT, Entry, Outcome
from openbalena.swarm.last_backup import last_backup

CASES = yaml.safe_load(Path(__file__).with_name("last_backup.yml").read_text(encoding="utf-8"))
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def entry(command: str, outcome: str, hours: float, error: str = "") -> Entry:
    started = (NOW - timedelta(hours=hours)).isoformat(timespec="seconds")
    return Entry("ann@desk", started, command, Outcome(outcome), error=error)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_what_is_known_of_the_last_backup(case: dict[str, Any], tmp_path: Path) -> None:
    entries = [entry(*each) for each in case["commands"]]
    if "full" in case:
        entries += [entry("swarm-up", "succeeded", case["full"])] * (KEPT - len(entries))
    last = last_backup(entries, case.get("repository", "/srv/backup"))
    assert last.text(NOW) == case["text"]
    facts = Facts(settings.read(Project(directory=tmp_path)), cluster([service("api")], []), backup=last, time=NOW)
    found = [f"{each.severity.value} {each.detail}" for each in backup.check(facts)]
    assert found == case.get("found", [])
    assert not list(backup.check(replace(facts, cluster=cluster([], [])))), "nothing is deployed"
    assert not list(backup.check(replace(facts, backup=None))), "nobody has looked"
