"""Upgrades: what changes, what is refused, what needs care and what has no way back."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from openbalena.base.errors import UsageError
from openbalena.settings.variables import variables
from openbalena.swarm.api_schema import ADDITIVE
from openbalena.upgrade.plan import Running, no_return, plan_upgrade
from openbalena.upgrade.releases import Note, crossed, known_releases, parse, setting
from openbalena.upstream.__main__ import KNOWN

CASES: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("plans.yml").read_text())
RELEASES = known_releases()


def default(service: str, version: str) -> str:
    """openBalena's image of a service in this version."""
    return f"{variables()[setting(service)].default.partition(':')[0]}:{version}"


def running(case: dict[str, Any]) -> Running:
    release = RELEASES.find(case["runs"])
    images = {service: default(service, version) for service, version in release.images.items()}
    images = {service: image for service, image in {**images, **case.get("images", {})}.items() if image}
    last = case.get("executed", "00114")
    return Running(
        images=images,
        configured={setting(service): image for service, image in images.items()},
        exported=case.get("exported", ()),
        executed=None if last is None else [f"{number:05}" for number in range(int(last) + 1)],
        postgres=case.get("postgres", 18),
        slow_statements=case.get("slow_statements", False),
    )


def require_beginnings(found: Sequence[str], expected: Sequence[str]) -> None:
    assert len(found) == len(expected), found
    for text, beginning in zip(found, expected, strict=True):
        assert text.startswith(beginning), found


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["name"]))
def test_what_is_decided(case: dict[str, Any]) -> None:
    here = running(case)
    if "error" in case:
        with pytest.raises(UsageError) as refused:
            plan_upgrade(RELEASES, case["to"], here)
        assert str(refused.value).startswith(case["error"])
        return
    plan = plan_upgrade(RELEASES, case.get("to"), here, keep_database=case.get("keep", False))
    assert plan.version == case.get("to", "4.1.924").removeprefix("v")
    if "former" in case:
        assert plan.former == case["former"]
    assert [(each.service, each.after.rpartition(":")[2]) for each in plan.changes] == [*case["changes"].items()]
    require_beginnings(plan.refusals, case.get("refused", []))
    require_beginnings(plan.findings, case.get("found", []))
    require_beginnings(plan.one_way, case.get("one_way", []))
    assert {**plan.settings, **case.get("pinned", {})} == plan.settings
    release = RELEASES.find(case.get("to"))
    for each in plan.changes:
        assert plan.settings[setting(each.service)] == each.after
        assert each.after.endswith(f":{release.images[each.service]}")


@pytest.mark.parametrize(
    ("one_way", "before", "executed", "reason"),
    [
        ((), ["1"], ["1"], ""),
        ((), ["1"], ["1", "00113"], ""),
        ((), ["1"], ["1", "2"], "a newer version has changed the database by migration 2,"),
        (("step",), ["1"], ["1"], ""),
        (("step",), ["1"], None, "which migrations the database has could not be read"),
        (("step",), None, ["1"], "no successful release has recorded"),
        ((), None, None, ""),
    ],
)
def test_whether_the_former_api_may_run_again(
    one_way: tuple[str, ...], before: list[str] | None, executed: list[str] | None, reason: str
) -> None:
    found = no_return(one_way, before, executed)
    assert found.startswith(reason) and bool(found) == bool(reason)


@pytest.mark.parametrize(
    ("now", "then", "expected"),
    [("42.9.9", "43.0.0", True), ("43.0.0", "44.0.0", False), ("42.0.0", "42.9.9", False), ("44.0.0", "42.0.0", False)],
)
def test_which_notes_are_on_the_way(now: str, then: str, expected: bool) -> None:
    notes = [Note("api", "43.0.0", "care"), Note("vpn", "43.0.0", "other")]
    assert list(crossed(notes, "api", parse(now), parse(then))) == notes[:1] * expected


def test_the_newest_release_is_the_one_of_the_definitions() -> None:
    newest = RELEASES.releases[-1]
    assert newest.version == yaml.safe_load(KNOWN.read_text())["version"]
    for service, version in newest.images.items():
        assert variables()[setting(service)].default == default(service, version)


def test_releases_and_migrations_are_in_order() -> None:
    versions = [parse(each.version) for each in RELEASES.releases]
    assert versions == sorted(set(versions))
    assert [each.date for each in RELEASES.releases] == sorted(each.date for each in RELEASES.releases)
    apis = [parse(each.api) for each in RELEASES.migrations]
    keys = [each.key for each in RELEASES.migrations]
    assert (apis, keys) == (sorted(apis), sorted(set(keys)))
    assert ADDITIVE.keys() <= {*keys}


def test_every_note_is_about_a_service_of_the_releases() -> None:
    services = RELEASES.releases[-1].images.keys()
    assert {each.service for each in (*RELEASES.care, *RELEASES.unusable)} <= services
    databases = {parse(each.images["db"])[0] for each in RELEASES.releases}
    assert databases <= RELEASES.postgres.keys()
