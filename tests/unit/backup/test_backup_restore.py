"""What may be restored onto what: the table in restore.yml."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from backup_facts import MANIFEST, PARTS, saved

from openbalena.backup.restore import RestoreOptions, Room, Target, major, plan_restore
from openbalena.backup.sets import BackupSet

CASES = yaml.safe_load(Path(__file__).with_name("restore.yml").read_text())
FOUND = BackupSet("s1", "2026-11-26T10:01:00Z", "my.example.com", "swarm", "ob", 12, "m1", PARTS)
TARGET = Target("my.example.com", migrations=("00108", "00109", "00110"), database=18)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["title"])
def test_a_restore_is_judged_before_anything_changes(case: dict[str, Any]) -> None:
    changed = {"parts": PARTS, **case.get("manifest", {})}
    manifest = replace(MANIFEST, **{**changed, "parts": saved(changed["parts"])})
    found = replace(FOUND, **case.get("found", {}))
    given = case.get("target", {})
    target = replace(TARGET, **{**given, "rooms": [Room(*each) for each in given.get("rooms", [])]})
    plan = plan_restore(found, manifest, target, RestoreOptions(case.get("overwrite", False), case.get("clone", "")))
    expected = case.get("refusals", [])
    assert len(plan.refusals) == len(expected), plan
    assert all(words in refusal for words, refusal in zip(expected, plan.refusals, strict=True)), plan
    if expected:
        assert plan.steps == plan.warnings == ()
        return
    assert plan.steps == ("settings", "s3-data", "database")
    *warnings, last = plan.warnings
    told = "as of 2026-11-26T10:00:00+00:00: later" if "clone" in case else "after 2026-11-26T10:00:00+00:00 is lost"
    assert told in last
    told = case.get("warnings", [])
    assert len(warnings) == len(told)
    assert all(words in warning for words, warning in zip(told, warnings, strict=True)), plan


def test_a_clone_that_is_there_is_not_told_to_overwrite_it() -> None:
    manifest = replace(MANIFEST, parts=saved(PARTS))
    there = replace(TARGET, domain="clone.example.org", restored=True)
    *_, last = plan_restore(FOUND, manifest, there, RestoreOptions(clone="clone.example.org")).warnings
    assert last.endswith("what was changed since is kept")


@pytest.mark.parametrize(
    ("version", "number"), [("18.1 (Debian)", 18), ("18beta1", 0), ("17", 17), ("18 (x)", 18), ("", 0)]
)
def test_the_major_version(version: str, number: int) -> None:
    assert major(version) == number
