"""Whether the database's login is known to be the only one, and what is checked outside the cluster."""

from typing import Any

import pytest
from fake_engine import FakeEngine
from fake_swarm import Row, stack_service

from openbalena.base.errors import OperationError
from openbalena.base.names import STACK_LABEL, volume_registry
from openbalena.pki import database_login
from openbalena.pki.database_login import Login
from openbalena.storage import database, external, record
from openbalena.storage.record import VolumeLocation, VolumeRegistry
from openbalena.swarm.job import JobResult

LOGIN = Login("openbalena_b", "secret")


@pytest.fixture
def deployed(fake: FakeEngine) -> FakeEngine:
    """A database in a network, on one of two nodes."""
    fake.swarm.node("node1", "manager")
    network = fake.swarm.create_network({"Name": "ob_default", "Driver": "overlay", "Labels": {STACK_LABEL: "ob"}})
    spec = stack_service("db")
    spec["TaskTemplate"]["Networks"] = [{"Target": network}]
    fake.swarm.create("services", spec)
    fake.swarm.logs["openbalena-database"] = ["1", "openbalena-job-end"]
    return fake


def asked(fake: FakeEngine) -> dict[str, Any]:
    """The last job's spec; it and its secrets are gone."""
    assert [each["Spec"]["Name"] for each in fake.swarm.services.values()] == ["ob_db"] and not fake.swarm.secrets
    return fake.swarm.created[-1]


@pytest.mark.parametrize("alone", [True, False])
def test_a_login_is_recorded_once_it_is_the_only_one(alone: bool, deployed: FakeEngine) -> None:
    with deployed.engine.client() as client:
        database.Database(deployed.engine, client, "ob").ensure(LOGIN, alone=alone)
        (running,) = (each["ID"] for each in deployed.swarm.tasks.values() if each["DesiredState"] == "running")
        known = record.read_registry(client, "ob")
        assert known.login == (f"openbalena_b {running}" if alone else "")
        before = len(deployed.swarm.asked)
        if alone:
            database.Database(deployed.engine, client, "ob").ensure(LOGIN, alone=True)
            assert not any("configs" in each for each in deployed.swarm.asked[before:]), "it is recorded already"
    template = asked(deployed)["TaskTemplate"]
    script = template["ContainerSpec"]["Args"][1]
    assert ("NOLOGIN" in script) is alone and "secret" not in script.replace("/run/secrets", "")
    assert len(template["Networks"]) == 1 and len(template["ContainerSpec"]["Secrets"]) == 2


@pytest.mark.parametrize(("role", "noted"), [(database_login.OWNER, False), ("openbalena_a", True)])
def test_the_next_login_needs_the_last_one_deployed(role: str, *, noted: bool, deployed: FakeEngine) -> None:
    with deployed.engine.client() as client:
        found = database.Database(deployed.engine, client, "ob")
        found.open_next(Login(role, "now"), LOGIN)
        script = asked(deployed)["TaskTemplate"]["ContainerSpec"]["Args"][1]
        assert ("shobj_description" in script) is noted, "the image's own login was never deployed"
        deployed.swarm.fates["openbalena-database"] = [[Row(0, "failed", "task: non-zero exit (3)", 3)]]
        with pytest.raises(OperationError, match="has not been deployed yet"):
            found.open_next(Login(role, "now"), LOGIN)
        deployed.swarm.fates["openbalena-database"] = [[Row(0, "failed", "task: non-zero exit (2)", 2)]]
        with pytest.raises(OperationError, match="^db: 1"):
            found.open_next(Login(role, "now"), LOGIN)


@pytest.mark.parametrize(("error", "restored"), [("password authentication failed", True), ("no route", False)])
def test_a_database_with_another_password_may_be_a_restored_one(
    error: str, *, restored: bool, deployed: FakeEngine
) -> None:
    deployed.swarm.fates["openbalena-database"] = [[Row(0, "failed", "task: non-zero exit (1)", 1)]]
    deployed.swarm.logs["openbalena-database"] = [error, "openbalena-job-end"]
    with deployed.engine.client() as client, pytest.raises(OperationError) as failed:
        database.Database(deployed.engine, client, "ob").ensure(LOGIN, alone=True)
    assert (database.RESTORED in str(failed.value)) is restored and error in str(failed.value)
    assert not deployed.swarm.configs, "nothing is recorded"


SETTINGS = {
    "EXTERNAL_POSTGRES_HOST": "db.example.com",
    "EXTERNAL_POSTGRES_PORT": "5432",
    "EXTERNAL_POSTGRES_DATABASE": "resin",
    "EXTERNAL_POSTGRES_USER": "docker",
    "EXTERNAL_POSTGRES_PASSWORD": "tops:3\\cret",
    "EXTERNAL_S3_ENDPOINT": "s3.example.com",
    "EXTERNAL_S3_REGION": "eu-west-1",
    "EXTERNAL_S3_ACCESS_KEY": "acc3ss",
    "EXTERNAL_S3_SECRET_KEY": 'tops"3cret',
    "DB_IMAGE": "postgres:17",
    "REGISTRY_IMAGE": "registry:1",
    "API_WORKERS": "1",
}


@pytest.mark.parametrize(
    ("which", "images"),
    [
        ((), []),
        (("POSTGRES",), ["postgres:17"]),
        (("S3",), ["built:1"]),
        (("POSTGRES", "S3"), ["postgres:17", "built:1"]),
    ],
)
def test_what_is_external_is_checked(which: tuple[str, ...], images: list[str], fake: FakeEngine) -> None:
    fake.swarm.node("node1", "manager")
    fake.swarm.logs["openbalena-postgres"] = ["170004|t|100", "openbalena-job-end"]
    fake.swarm.logs["openbalena-s3"] = ["registry-data 200", "web-resources 404", "openbalena-job-end"]
    settings = {**SETTINGS, **{f"EXTERNAL_{name}": "true" for name in which}}
    with fake.engine.client() as client:
        found = external.check_external(fake.engine, client, settings, {"registry": "built:1"}, "id-node1", 3)
    # The database allows too few connections, and a bucket is not there.
    assert [finding.fatal for finding in found] == [False] * ("POSTGRES" in which) + [True] * ("S3" in which)
    assert [each["TaskTemplate"]["ContainerSpec"]["Image"] for each in fake.swarm.created] == images
    assert not fake.swarm.secrets


def test_without_a_registry_its_client_is_in_the_image_of_the_settings(fake: FakeEngine) -> None:
    fake.swarm.node("node1", "manager")
    fake.swarm.fates["openbalena-s3"] = [[Row(0, "failed", "task: non-zero exit (1)", 1)]]
    with fake.engine.client() as client:
        (finding,) = external.check_external(
            fake.engine, client, {**SETTINGS, "EXTERNAL_S3": "true"}, {}, "id-node1", 1
        )
    assert finding.fatal and fake.swarm.created[0]["TaskTemplate"]["ContainerSpec"]["Image"] == "registry:1"


@pytest.mark.parametrize(
    ("version", "create", "fatal"),
    [("149999", "t", [False]), ("150000", "t", []), ("150000", "f", [True]), ("149999", "f", [False, True])],
)
def test_the_oldest_server(version: str, create: str, fatal: list[bool]) -> None:
    found = external.store_findings("EXTERNAL_POSTGRES", JobResult(True, (f"{version}|{create}|100",)))
    assert [finding.fatal for finding in found] == fatal


def test_an_answer_without_lines_is_not_taken_for_a_good_one() -> None:
    assert [each.fatal for each in external.store_findings("EXTERNAL_POSTGRES", JobResult(True, ()))] == [True]
    last = JobResult(True, ("a notice", "170004|t|100"))
    assert not list(external.store_findings("EXTERNAL_POSTGRES", last)), "the last line is the answer"


@pytest.mark.parametrize(
    ("codes", "found"),
    [(("200", "200"), []), (("100", "403"), ["registry-data", "web-resources"]), (("200", "000"), ["web-resources"])],
)
def test_each_bucket_has_its_finding(codes: tuple[str, str], found: list[str]) -> None:
    lines = tuple(f"{bucket} {code}" for bucket, code in zip(external.BUCKETS, codes, strict=True))
    findings = list(external.store_findings("EXTERNAL_S3", JobResult(True, lines)))
    assert [str(each).split()[2] for each in findings] == found and all(each.fatal for each in findings)


@pytest.mark.parametrize(
    ("lines", "ok", "fatal"),
    [
        # Connections are counted in the last line, and only if the query succeeded.
        (["NOTICE: 0|t|1", "170004|t|100", "170004|t|1000"], True, []),
        (["170004|t|1000", "170004|t|1"], True, [False]),
        (["170004|t|1"], False, [True]),
        ([], True, [True]),
    ],
)
def test_connections_are_counted_if_the_query_succeeded(
    lines: list[str], ok: bool, fatal: list[bool], fake: FakeEngine
) -> None:
    fake.swarm.node("node1", "manager")
    if not ok:
        fake.swarm.fates["openbalena-postgres"] = [[Row(0, "failed", "task: non-zero exit (1)", 1)]]
    fake.swarm.logs["openbalena-postgres"] = [*lines, "openbalena-job-end"]
    settings = {**SETTINGS, "EXTERNAL_POSTGRES": "true"}
    with fake.engine.client() as client:
        found = external.check_external(fake.engine, client, settings, {}, "id-node1", 3)
    assert [finding.fatal for finding in found] == fatal
    (spec,) = fake.swarm.created
    assert spec["TaskTemplate"]["Placement"]["Constraints"] == ["node.id==id-node1"]
    assert len(spec["TaskTemplate"]["ContainerSpec"]["Secrets"]) == 1


def test_the_error_of_curl_is_told_and_not_its_advice() -> None:
    lines = ("registry-data curl: (60) SSL certificate problem", "More details here: https://curl.se")
    (finding,) = external.store_findings("EXTERNAL_S3", JobResult(False, lines))
    assert finding.fatal and "(60)" in str(finding) and "More details" not in str(finding)


PLACES = {
    "a": VolumeLocation("n1", "node1"),
    "b": VolumeLocation("n2", "node2", nfs=True),
    "c": VolumeLocation("n1", "x"),
}


def test_the_record_of_removed_nodes_is_dropped_and_with_the_last_place_itself(fake: FakeEngine) -> None:
    fake.swarm.node("node1", "manager")
    with fake.engine.client() as client:
        known = VolumeRegistry(PLACES).with_move("a", record.Move("n1", "n2", {"ob_db": 2}))
        record.write_registry(client, "ob", known)
        record.write_registry(client, "ob2", VolumeRegistry(PLACES))
        assert record.read_registry(client, "ob") == known, "not the one whose name begins like it"
        record.forget_node(client, "ob", {"n1"})
        assert record.read_registry(client, "ob") == VolumeRegistry({"b": PLACES["b"]})
        record.forget_node(client, "ob", {"n2"})
        assert record.read_registry(client, "ob") == VolumeRegistry()
        assert [each["Spec"]["Name"] for each in fake.swarm.configs.values()] == [volume_registry("ob2")]
        record.forget_node(client, "ob", {"n2"})


def test_a_record_without_a_volume_keeps_the_others() -> None:
    move = record.Move("n1", "n2", {})
    known = VolumeRegistry(PLACES, {"a": move, "b": move}, "role task")
    assert known.without("a") == VolumeRegistry({k: v for k, v in PLACES.items() if k != "a"}, {"b": move}, "role task")
    assert known.without_place("a").moves == {"a": move, "b": move}
