"""Which backups are kept: the table in retention.yml."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from openbalena.backup.retention import Keep, plan_prune
from openbalena.backup.sets import BackupSet, Sets, UnfinishedSet

CASES = yaml.load(Path(__file__).with_name("retention.yml").read_text(), yaml.BaseLoader)
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
DOMAIN = "my.example.com"


def backup(time: str, domain: str = DOMAIN, missing: tuple[str, ...] = ()) -> BackupSet:
    parts = {"database": f"d {time}", "s3-data": f"s {time}"}
    created = f"{time.replace(' ', 'T')}:00.123456789Z"
    return BackupSet(time, created, domain, "swarm", "ob", 1, f"m {time}", parts, missing)


def sets(case: dict[str, Any]) -> Sets:
    backups = [backup(time) for time in case.get("complete", [])]
    backups += [backup(time, missing=("s3-data",)) for time in case.get("lost", [])]
    backups += [backup(time, "other.example.com") for time in case.get("others", [])]
    begun = [UnfinishedSet(time, backup(time).created, DOMAIN, (f"d {time}",)) for time in case.get("begun", [])]
    return Sets(tuple(sorted(backups, key=lambda each: each.created)), tuple(begun))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["title"])
def test_whole_sets_are_kept_or_removed(case: dict[str, Any]) -> None:
    keep = Keep(**{name: int(number) for name, number in case["keep"].items()})
    plan = plan_prune(sets(case), keep, DOMAIN, NOW)
    assert {each.id: " ".join(each.rules) for each in plan.kept} == case.get("kept", {})
    assert [each.id for each in plan.removed] == case.get("removed", [])
    assert sorted(plan.left) == case.get("left", [])


def test_what_is_removed_are_all_snapshots_that_there_are() -> None:
    found = sets({"complete": ["2026-11-26 03:00", "2026-11-20 03:00"], "lost": ["2026-11-19 03:00"]})
    whole, lost = plan_prune(found, Keep(last=1), DOMAIN, NOW).removed
    assert (whole.manifest, whole.snapshots) == ("m 2026-11-20 03:00", ("d 2026-11-20 03:00", "s 2026-11-20 03:00"))
    assert (lost.manifest, lost.snapshots) == ("m 2026-11-19 03:00", ("d 2026-11-19 03:00",))
