"""Which api is judged by the database's migrations, and what is recorded of one that runs."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from fake_engine import FakeEngine
from fake_swarm import RefusedError, stack_service
from hearing import Listener

from openbalena.base.errors import OperationError
from openbalena.operations.schema_check import SchemaCheck
from openbalena.swarm import releases
from openbalena.swarm.api_schema import Answer
from openbalena.swarm.releases import Release

SETTINGS = {"STACK_NAME": "ob", "DB_USER": "openbalena_a", "DB_PASSWORD": "topsecret"}
EXTERNAL = {
    "STACK_NAME": "ob", "EXTERNAL_POSTGRES": "true", "EXTERNAL_POSTGRES_HOST": "db.example.com",
    "EXTERNAL_POSTGRES_PORT": "5432", "EXTERNAL_POSTGRES_DATABASE": "resin", "EXTERNAL_POSTGRES_USER": "me",
    "EXTERNAL_POSTGRES_PASSWORD": "topsecret", "DB_IMAGE": "postgres:17",
}  # fmt: skip


def release(number: int, image: str, *keys: str) -> Release:
    document = {"services": {"api": {"image": image}}}
    return Release(number, "ann@desk", "2026-11-26T10:00:00+00:00", "swarm-up", document=document, migrations=keys)


def running(fake: FakeEngine, image: str, *executed: str) -> None:
    """An api, and a database that has executed these migrations."""
    fake.swarm.node("node1", "manager")
    fake.swarm.create("services", stack_service("db"))
    if image:
        fake.swarm.create("services", stack_service("api", Image=image))
    for job in ("database", "postgres"):
        fake.swarm.logs[f"openbalena-{job}"] = [json.dumps(executed), "openbalena-job-end"]


def asked(fake: FakeEngine) -> list[dict[str, Any]]:
    """The specs of the jobs."""
    return [spec for spec in fake.swarm.created if spec["Name"].startswith("openbalena-")]


@pytest.mark.parametrize(
    ("now", "then", "may_be_new", "answer"),
    [
        ("api:1.0.0", "api:1.0.0", False, None),
        ("api:1.0.0@sha256:0a", "api:1.0.0", True, None),
        ("api:2.0.0", "api:1.0.0", True, Answer.REFUSED),
        ("api:2.0.0", "", True, None),
        ("api:2.0.0", "api:3.0.0", True, None),
        ("api:2.0.0", "api:3.0.0", False, Answer.UNKNOWN),
        ("api:2.0.0", "api:0.9.0", True, Answer.UNKNOWN),
        # Removed: what was deployed last decides.
        ("", "api:2.0.0", True, None),
        ("", "api:1.0.0", True, Answer.REFUSED),
    ],
)
def test_an_api_that_may_be_older_is_judged(
    now: str, then: str, may_be_new: bool, answer: Answer | None, fake: FakeEngine
) -> None:
    known: Sequence[Release] = [release(2, "api:2.0.0", "1", "2"), release(1, "api:1.0.0", "1")]
    running(fake, now, "1", "2")
    document = {"services": {"api": {"image": then}} if then else {}}
    with fake.engine.client() as client:
        check = SchemaCheck(fake.engine, client, SETTINGS, Listener())
        found = check.verdict(document, known, may_be_new=may_be_new)
    assert (found.answer if found else None) is answer
    assert len(asked(fake)) == (answer is Answer.REFUSED), "the database is not asked in vain"


def test_without_any_release_the_first_deploy_is_not_judged(fake: FakeEngine) -> None:
    running(fake, "")
    with fake.engine.client() as client:
        check = SchemaCheck(fake.engine, client, SETTINGS, Listener())
        assert check.verdict({"services": {"api": {"image": "api:1.0.0"}}}, [], may_be_new=True) is None


@pytest.mark.parametrize(
    ("image", "keys", "jobs"),
    [
        ("api:3.0.0", ["1", "2", "3"], 1),
        ("api:2.0.0", ("1", "2"), 0),
        ("api:1.0.0", None, 0),
        ("", None, 0),
    ],
    ids=["first deployed", "deployed before", "an older one, never deployed", "no api"],
)
@pytest.mark.parametrize("settings", [SETTINGS, EXTERNAL], ids=["internal", "external"])
def test_what_an_image_knows_is_read_once(
    image: str, keys: Sequence[str] | None, jobs: int, settings: dict[str, str], fake: FakeEngine
) -> None:
    running(fake, "api:3.0.0", "1", "2", "3")
    with fake.engine.client() as client:
        releases.begin(client, "ob", release(1, "api:2.0.0", "1", "2"))
        found = SchemaCheck(fake.engine, client, settings, Listener()).migrations_of(image)
    assert (found if found is None else list(found)) == (keys if keys is None else list(keys))
    assert len(asked(fake)) == jobs and "topsecret" not in json.dumps(asked(fake)) and not fake.swarm.secrets


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("psql: no route", "list of executed migrations cannot be read"),
        ("{}", "expected a list"),
        ("", "cannot be read"),
    ],
)
def test_an_answer_that_is_no_list_is_not_known(said: str, reason: str, fake: FakeEngine) -> None:
    running(fake, "api:1.0.0")
    fake.swarm.logs["openbalena-database"] = [said, "openbalena-job-end"]
    listener = Listener()
    with fake.engine.client() as client:
        assert SchemaCheck(fake.engine, client, SETTINGS, listener).migrations_of("api:1.0.0") is None
    (warning,) = listener.warnings
    assert warning.startswith("cannot read which migrations of the api the database has") and reason in warning


def test_an_engine_that_refuses_the_job_is_no_failure_of_the_deploy(fake: FakeEngine) -> None:
    running(fake, "api:1.0.0")
    fake.swarm.refusals.append(("POST", "/secrets/create", RefusedError(500, "rpc error: no leader")))
    listener = Listener()
    with fake.engine.client() as client:
        assert SchemaCheck(fake.engine, client, SETTINGS, listener).migrations_of("api:1.0.0") is None
    assert "no leader" in listener.warnings[0]


def test_a_refusal_names_what_to_do(fake: FakeEngine) -> None:
    running(fake, "api:2.0.0", "1", "2")
    with fake.engine.client() as client:
        check = SchemaCheck(fake.engine, client, SETTINGS, Listener())
        verdict = check.verdict({"services": {"api": {"image": "api:1.0.0"}}}, [release(1, "api:1.0.0", "1")])
        with pytest.raises(
            OperationError, match=r"^release 1 cannot be deployed:\n  api: .* by migration 2, .* backup"
        ):
            check.require(verdict, "release 1")
