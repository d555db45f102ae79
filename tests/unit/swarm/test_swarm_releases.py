"""Releases: what is kept of a deploy, for how long, and what of it can be deployed again."""

import base64
from dataclasses import replace
from typing import Any

import pytest
from fake_engine import FakeEngine

from openbalena.swarm import releases
from openbalena.swarm.releases import KEPT, Outcome, Release, from_config

DOCUMENT: dict[str, Any] = {
    "services": {
        "api": {
            "image": "api:1",
            "secrets": [{"source": "api-env", "target": "/env", "mode": 256}, {"source": "key"}],
            "configs": [{"source": "ca", "target": "/ca"}],
        },
        "db": {"image": "db:1", "configs": [{"source": "ca", "target": "/ca"}]},
    },
    "secrets": {
        "api-env": {"name": "ob_api-env-111111111111", "file": "/x/api.env"},
        "key": {"name": "ob_key-111111111111", "file": "/x/key"},
    },
    "configs": {"ca": {"name": "ob_ca-111111111111", "file": "/x/ca"}},
    "networks": {"data": {"driver": "overlay"}},
}
RELEASE = Release(1, "ann@desk", "2026-11-26T10:00:00+00:00", "swarm-up", "why", document=releases.external(DOCUMENT))


def test_a_release_refers_to_its_secrets_by_their_names() -> None:
    document = releases.external(DOCUMENT)
    assert document["services"]["api"]["secrets"] == [
        {"source": "ob_api-env-111111111111", "target": "/env", "mode": 256},
        {"source": "ob_key-111111111111", "target": "key"},
    ]
    assert document["secrets"] == {
        name: {"external": True, "name": name} for name in ("ob_api-env-111111111111", "ob_key-111111111111")
    }
    assert document["configs"] == {"ob_ca-111111111111": {"external": True, "name": "ob_ca-111111111111"}}
    assert (
        document["networks"] == DOCUMENT["networks"]
        and DOCUMENT["services"]["api"]["secrets"][0]["source"] == "api-env"
    )
    assert RELEASE.objects() == {"ob_api-env-111111111111", "ob_key-111111111111", "ob_ca-111111111111"}
    assert releases.external({"services": {"a": {"image": "x"}}}) == {"services": {"a": {"image": "x"}}}


def test_it_is_deployed_again_with_the_images_that_it_had() -> None:
    ran = replace(RELEASE, images={"api": "api:1@sha256:00"})
    services = ran.deployable()["services"]
    assert (services["api"]["image"], services["db"]["image"]) == ("api:1@sha256:00", "db:1")


def test_one_service_of_an_earlier_release_comes_with_what_it_needs() -> None:
    newer = {
        **DOCUMENT,
        "services": {**DOCUMENT["services"], "api": {**DOCUMENT["services"]["api"], "image": "api:2"}},
        "secrets": {**DOCUMENT["secrets"], "api-env": {"name": "ob_api-env-222222222222"}},
        "configs": {"ca": {"name": "ob_ca-222222222222"}},
    }
    document = releases.with_service_of(replace(RELEASE, document=releases.external(newer)), RELEASE, "api")
    assert document["services"]["api"] == releases.external(DOCUMENT)["services"]["api"]
    assert document["services"]["db"] == releases.external(newer)["services"]["db"]
    assert set(document["secrets"]) == {"ob_api-env-111111111111", "ob_key-111111111111"}
    assert set(document["configs"]) == {"ob_ca-111111111111", "ob_ca-222222222222"}
    assert document["networks"] == DOCUMENT["networks"]


def test_it_is_read_back_as_it_was_recorded(fake: FakeEngine) -> None:
    release = replace(RELEASE, changes={"api": ["image: api:0 → api:1"]})
    with fake.engine.client() as client:
        releases.begin(client, "ob", release)
        assert releases.read_releases(client, "ob") == [release]
        assert releases.read_releases(client, "other") == []
        images = {"api": "api:1@sha256:00"}
        done = replace(release, outcome=Outcome.SUCCEEDED, seconds=12.0, images=images, migrations=["00001"])
        releases.finish(client, "ob", done)
        assert releases.read_releases(client, "ob") == [done]
        releases.begin(client, "ob", replace(release, message="again"))
        assert [each.message for each in releases.read_releases(client, "ob")] == ["again"]
        releases.remove_releases(client, "ob")
        assert releases.read_releases(client, "ob") == []


def test_the_oldest_are_dropped_when_one_ends(fake: FakeEngine) -> None:
    with fake.engine.client() as client:
        for number in range(1, KEPT + 3):
            releases.begin(client, "ob", replace(RELEASE, number=number))
        releases.finish(client, "ob", replace(RELEASE, number=KEPT + 2, outcome=Outcome.FAILED))
        found = [each.number for each in releases.read_releases(client, "ob")]
    assert found == list(range(KEPT + 2, 2, -1))


def release_of(number: int, outcome: Outcome) -> Release:
    document = {"services": {}, "secrets": {f"s{number}": {"external": True, "name": f"s{number}"}}}
    return Release(number, "", "", "swarm-up", outcome=outcome, document=document)


GOOD, BAD, OPEN = Outcome.SUCCEEDED, Outcome.FAILED, Outcome.DEPLOYING


@pytest.mark.parametrize(
    ("outcomes", "good", "kept"),
    [
        ([], None, set()),
        ([GOOD], None, {"s1"}),
        ([GOOD, GOOD], 1, {"s1", "s2"}),
        ([GOOD, BAD], 1, {"s1", "s2"}),
        ([GOOD, GOOD, BAD, BAD], 2, {"s2", "s4"}),
        ([BAD, OPEN], None, {"s2"}),
    ],
)
def test_what_a_rollback_needs_is_kept(outcomes: list[Outcome], good: int | None, kept: set[str]) -> None:
    known = [release_of(number, outcome) for number, outcome in enumerate(outcomes, 1)][::-1]
    found = releases.last_good(known)
    assert (found.number if found else None) == good
    assert releases.objects_in_use(known) == kept


def test_what_an_image_knows_is_what_its_oldest_release_has_recorded() -> None:
    def of(number: int, image: str, *keys: str) -> Release:
        return replace(RELEASE, number=number, images={"api": image}, migrations=keys or None)

    known = [of(5, "api:1@sha256:0", "1", "2"), of(4, "api:2@sha256:0b", "1", "2"), of(3, "api:1@sha256:0", "1"),
             of(2, "api:1@sha256:0"), of(1, "api:0")]  # fmt: skip
    assert releases.known_migrations(known, "api:1@sha256:0") == ("1",), "5 ran on what 4 has migrated"
    assert releases.known_migrations(known, "api:2") == ("1", "2")
    assert releases.known_migrations(known, "api:0") is None is releases.known_migrations(known, "api:3")
    assert RELEASE.image("db") == "db:1" and RELEASE.image("web") == ""


def test_a_release_in_the_list_and_for_programs() -> None:
    shown = replace(RELEASE, command="swarm-rollback 1", outcome=GOOD, seconds=7.0, changes={"db": ["is new", "x"]})
    assert shown.row()[3:] == ("succeeded", "7", "why: swarm-rollback 1: db: is new, x")
    assert replace(RELEASE, message="").row()[3:] == ("deploying", "-", "")
    assert shown.record()["images"] == {"api": "api:1", "db": "db:1"}
    raw = {"Spec": {"Labels": shown.labels("ob"), "Data": base64.b64encode(shown.content()).decode()}}
    assert from_config(raw) == shown
