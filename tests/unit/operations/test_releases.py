"""Recording a deploy as a release: which deploys make one, and how it ends."""

from dataclasses import replace
from typing import Any

import pytest
from fake_engine import FakeEngine
from fake_swarm import stack_service

from openbalena.base.errors import OperationError
from openbalena.operations.releases import next_release, recorded
from openbalena.stack.diff import Change
from openbalena.swarm import releases
from openbalena.swarm.releases import Outcome, Release

DOCUMENT: dict[str, Any] = {"services": {"api": {"image": "api:1"}}}
DONE = Release(3, "ann@desk", "2026-11-26T10:00:00+00:00", "swarm-up", outcome=Outcome.SUCCEEDED, document=DOCUMENT)
CHANGES = {"api": [Change("image", "api:0 → api:1")]}


@pytest.mark.parametrize(
    ("known", "message", "changes", "number"),
    [
        ([], "", CHANGES, 1),
        ([], "", {}, 1),
        ([DONE], "", CHANGES, 4),
        ([DONE], "", {}, None),
        ([DONE], "why", {}, 4),
        ([replace(DONE, outcome=Outcome.FAILED)], "", {}, 4),
        ([replace(DONE, outcome=Outcome.DEPLOYING)], "", {}, 4),
    ],
)
def test_a_deploy_that_changes_nothing_makes_no_release(
    known: list[Release], message: str, changes: dict[str, list[Change]], number: int | None
) -> None:
    made = next_release(known, "swarm-up", message, changes, DOCUMENT)
    assert (made.number if made else None) == number
    if made:
        assert made.message == message and made.document == DOCUMENT and "@" in made.owner and made.started
        assert made.changes == {name: [str(each) for each in found] for name, found in changes.items()}


@pytest.mark.parametrize(
    ("wait", "error", "outcome"),
    [
        (True, None, Outcome.SUCCEEDED),
        (False, None, Outcome.SUBMITTED),
        (True, OperationError("api crashes"), Outcome.FAILED),
        (True, KeyboardInterrupt(), Outcome.DEPLOYING),
    ],
)
def test_how_it_ends_is_recorded(wait: bool, error: BaseException | None, outcome: Outcome, fake: FakeEngine) -> None:
    fake.swarm.node("node1", "manager")
    fake.swarm.create("services", stack_service("api"))
    fake.swarm.named("services", "ob_api")["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"] = "api:1@sha256:00"
    begun = replace(DONE, outcome=Outcome.DEPLOYING)
    with fake.engine.client() as client:
        try:
            with recorded(client, "ob", begun, wait=wait, migrations_of=lambda image: [image]):
                (during,) = releases.read_releases(client, "ob")
                assert during.outcome is Outcome.DEPLOYING
                if error:
                    raise error
        except (OperationError, KeyboardInterrupt) as raised:
            assert raised is error
        (ended,) = releases.read_releases(client, "ob")
    assert ended.outcome is outcome
    assert ended.migrations == (["api:1@sha256:00"] if outcome is Outcome.SUCCEEDED else None)
    finished = outcome is not Outcome.DEPLOYING
    assert ended.images == ({"api": "api:1@sha256:00"} if finished else {})
    assert (ended.seconds is not None) is finished


def test_a_release_has_succeeded_before_its_migrations_are_read(fake: FakeEngine) -> None:
    fake.swarm.node("node1", "manager")

    def interrupted(image: str) -> list[str]:
        raise KeyboardInterrupt

    begun = replace(DONE, outcome=Outcome.DEPLOYING)
    with fake.engine.client() as client:
        with pytest.raises(KeyboardInterrupt), recorded(client, "ob", begun, wait=True, migrations_of=interrupted):
            pass
        assert releases.read_releases(client, "ob")[0].outcome is Outcome.SUCCEEDED


def test_no_release_records_nothing(fake: FakeEngine) -> None:
    with fake.engine.client() as client:
        with recorded(client, "ob", None, wait=True, migrations_of=lambda image: [image]):
            pass
        assert client.configs.list() == []
