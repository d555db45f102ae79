"""Who checks a token gets its new value before who shows it."""

from pathlib import Path

import pytest

from openbalena.base.names import REPLICAS_LABEL, object_name
from openbalena.stack.diff import Change
from openbalena.swarm import scale
from openbalena.swarm.rollout_order import newly_internal, one_api, services_to_roll_first, stages, versions
from openbalena.swarm.state import Cluster, SwarmService


def cluster(**services: str) -> Cluster:
    return Cluster(
        (),
        tuple(
            SwarmService(
                name,
                f"ob_{name}",
                "ob",
                secrets=("ob_api-key-000000000000", object_name("ob", f"{name}-env", version.encode())),
            )
            for name, version in services.items()
        ),
    )


def wanted(**versions: str) -> dict[str, str]:
    return {name: object_name("ob", f"{name}-env", version.encode()) for name, version in versions.items()}


RUNS = cluster(api="1", registry="1", s3="1", vpn="1", haproxy="1")


@pytest.mark.parametrize(
    ("there", "asked", "alone"),
    [
        (cluster(), 2, True),
        (cluster(), 5, True),
        (cluster(registry="1"), 2, True),
        (cluster(), 1, False),
        (cluster(api="1"), 2, False),
        (RUNS, 2, False),
    ],
)
def test_one_api_first_where_there_is_none(there: Cluster, asked: int, *, alone: bool) -> None:
    document = {"services": {"api": {"deploy": {"replicas": asked}}, "vpn": {"deploy": {"replicas": 2}}}}
    scaled, _ = scale.keep_manual_replicas(document, there)
    few = one_api(there, scaled)
    assert (few is not None) is alone
    if few:
        assert few["services"]["api"]["deploy"]["replicas"] == 1
        assert few["services"]["vpn"] == scaled["services"]["vpn"]
        # The deploy behind it, or one after that was killed, does not take the one for a number set by hand.
        labels = few["services"]["api"]["deploy"]["labels"]
        begun = Cluster((), (SwarmService("", "ob_api", "ob", replicas=1, labels=labels),))
        again, kept = scale.keep_manual_replicas(document, begun)
        assert again["services"]["api"]["deploy"]["replicas"] == asked and not kept


def test_without_an_api_there_is_nothing_to_stage() -> None:
    assert one_api(cluster(), {"services": {"web": {"deploy": {"replicas": 2}}}}) is None
    assert one_api(cluster(), {"services": {"api": {}}}) is None


def test_a_token_of_one_service_needs_no_order() -> None:
    assert services_to_roll_first(RUNS, wanted(api="1", registry="2", s3="1", vpn="1")) == []
    assert services_to_roll_first(RUNS, wanted(api="2", registry="1", s3="1", vpn="1")) == []


def test_the_api_before_the_vpn_and_the_store_before_all() -> None:
    assert services_to_roll_first(RUNS, wanted(api="2", registry="1", s3="1", vpn="2")) == ["api"]
    assert services_to_roll_first(RUNS, wanted(api="2", registry="2", s3="2", vpn="1")) == ["s3", "api"]
    assert services_to_roll_first(RUNS, wanted(api="2", registry="1", s3="2", vpn="1")) == ["s3"]


WITH_REDIS = cluster(api="1", redis="1", registry="1", s3="1", vpn="1")


def test_redis_first_where_it_accepts_both_passwords_and_the_api_first_where_it_had_none() -> None:
    rotated = wanted(api="2", redis="2", registry="1", s3="1", vpn="1")
    assert services_to_roll_first(WITH_REDIS, rotated, ["REDIS_PASSWORD"]) == ["redis"]
    assert services_to_roll_first(WITH_REDIS, wanted(api="1", redis="2", registry="1", s3="1", vpn="1")) == [], (
        "the old one is removed"
    )
    given = wanted(api="2", redis="2", registry="2", s3="1", vpn="1")
    assert services_to_roll_first(WITH_REDIS, given) == ["api"], "config made the passwords after a deploy without them"
    assert services_to_roll_first(cluster(api="1", registry="1", s3="1", vpn="1"), given) == ["api"], (
        "a version before had none"
    )


def test_what_does_not_run_yet_is_not_waited_for() -> None:
    assert services_to_roll_first(cluster(), wanted(api="1", registry="1", s3="1", vpn="1")) == []
    assert services_to_roll_first(cluster(api="1"), wanted(api="2", vpn="1")) == []


def test_a_database_that_the_stack_gets_back_goes_first() -> None:
    api, s3, db = (SwarmService("", f"ob_{name}", "ob") for name in ("api", "s3", "db"))
    assert newly_internal(cluster(api="1", s3="1"), [api, s3, db]) == ["db"]
    assert newly_internal(cluster(), [api, s3, db]) == [], "a first deploy starts all at once"


def test_what_is_new_and_no_other_service_waits_for_starts_with_the_rest() -> None:
    constraint = "node.labels.openbalena.data.{}-data == true"
    new = [
        SwarmService("", f"ob_{name}", "ob", constraints=(constraint.format(name),))
        for name in ("cert-manager", "builder")
    ]
    assert newly_internal(cluster(api="1", s3="1"), new) == []


def test_an_older_version_is_another_one_too() -> None:
    """Names of versions have no order."""
    for old, new in (("1", "2"), ("2", "1"), ("3", "1"), ("1", "3")):
        there = cluster(api=old, vpn=old)
        assert services_to_roll_first(there, wanted(api=new, vpn=new)) == ["api"]
        assert services_to_roll_first(there, wanted(api=new, vpn=old)) == []
        assert services_to_roll_first(there, wanted(api=old, vpn=new)) == []


def test_versions_are_those_of_the_secrets_with_variables(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    keys = ("api-env", "ca-bundle", "vpn-env")
    document = {"secrets": {key: {"name": f"${{V{number}}}", "file": "file"} for number, key in enumerate(keys)}}
    assert versions(document, tmp_path, "ob") == {
        name: object_name("ob", f"{name}-env", b"x") for name in ("api", "vpn")
    }


@pytest.mark.parametrize(("replicas", "staged"), [(1, False), (2, True), (3, True)])
def test_only_several_new_tasks_of_the_api_are_staged(replicas: int, *, staged: bool) -> None:
    document = {"services": {"api": {"deploy": {"replicas": replicas, "labels": {"own": "x"}}}}}
    few = one_api(cluster(), document)
    assert (few is not None) is staged
    assert not few or few["services"]["api"]["deploy"] == {"replicas": 1, "labels": {"own": "x", REPLICAS_LABEL: "1"}}
    assert document["services"]["api"]["deploy"]["replicas"] == replicas


def test_both_internal_services_may_be_new_and_no_other() -> None:
    planned = [SwarmService("", f"ob_{name}", "ob") for name in ("a", "db", "s3", "redis", "z")]
    assert newly_internal(cluster(api="1"), planned) == ["db", "s3"]
    assert newly_internal(cluster(db="1", s3="1"), planned) == []


ROLLS, KEEPS, NEW = [Change("image", "1 → 2")], [Change("replicas", "1 → 2")], [Change("", "is new")]
STAGES: dict[str, tuple[dict[str, list[Change]], list[str]]] = {
    "no change": ({}, []),
    "one service": ({"api": ROLLS}, []),
    "one service with data": ({"db": ROLLS}, []),
    "only haproxy": ({"haproxy": ROLLS}, []),
    "only new services": ({"tasks": NEW, "web": NEW}, []),
    "changes that keep the tasks": ({"db": KEEPS, "api": KEEPS, "vpn": KEEPS}, []),
    "data, then what uses it": ({"api": ROLLS, "db": ROLLS}, ["db"]),
    "one with data after the other": ({"s3": ROLLS, "redis": ROLLS, "db": ROLLS}, ["db", "redis"]),
    "others with data by name": ({"z": ROLLS, "a": ROLLS, "s3": ROLLS, "api": ROLLS}, ["s3", "a", "z"]),
    "haproxy last": ({"haproxy": ROLLS, "vpn": ROLLS, "registry": ROLLS}, ["registry vpn"]),
    "new services with the others": ({"haproxy": ROLLS, "web": NEW, "vpn": ROLLS}, ["vpn web"]),
    "new services alone": ({"web": NEW, "vpn": NEW, "db": ROLLS}, ["db"]),
    "all": (
        dict.fromkeys(("api", "db", "haproxy", "redis", "registry", "s3", "vpn"), ROLLS),
        ["db", "redis", "s3", "api registry vpn"],
    ),
}


@pytest.mark.parametrize(("changes", "expected"), STAGES.values(), ids=STAGES)
def test_services_are_replaced_in_stages(changes: dict[str, list[Change]], expected: list[str]) -> None:
    running = ["a", "api", "db", "haproxy", "redis", "registry", "s3", "vpn", "z"]
    found = stages(changes, running, ["a", "db", "redis", "s3", "z"])
    assert [" ".join(stage.services) for stage in found] == expected
    assert all(stage.why for stage in found)


def test_a_first_deploy_has_no_stages() -> None:
    assert stages({"db": NEW, "api": NEW, "haproxy": NEW}, [], ["db"]) == []
