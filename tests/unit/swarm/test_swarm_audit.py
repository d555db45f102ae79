"""The record of commands in the swarm: what is kept of how many, and what two commands at once do to it."""

from dataclasses import replace

import docker
import pytest
from fake_engine import FakeEngine
from fake_swarm import RefusedError

from openbalena.docker import object_labels
from openbalena.swarm import audit
from openbalena.swarm.audit import KEPT, Entry, Outcome

ENTRY = Entry("ann@desk", "2026-11-26T10:00:00+00:00", "swarm-scale api=2")
NAME = "openbalena-audit-ob"


def test_an_entry_is_replaced_by_how_it_ended(fake: FakeEngine) -> None:
    with fake.engine.client() as client:
        assert audit.read_entries(client, "ob") == []
        number = audit.write(client, "ob", ENTRY)
        assert audit.read_entries(client, "ob") == [replace(ENTRY, number=number)]
        ended = replace(ENTRY, number=number, outcome=Outcome.FAILED, seconds=1.5, error="no: node")
        assert audit.write(client, "ob", ended) == number
        other = audit.write(client, "ob", ENTRY)
        assert audit.read_entries(client, "ob") == [replace(ENTRY, number=other), ended]
        assert audit.read_entries(client, "o") == [], "of another stack"
    assert ended.row() == ("2026-11-26T10:00:00+00:00", "ann@desk", "failed", "2", "swarm-scale api=2: no: node")
    assert ENTRY.row()[2:] == ("running", "-", "swarm-scale api=2")
    assert ended.record() == {
        "number": number, "started": "2026-11-26T10:00:00+00:00", "by": "ann@desk", "command": "swarm-scale api=2",
        "outcome": "failed", "seconds": 1.5, "error": "no: node",
    }  # fmt: skip


def test_the_last_hundred_are_kept(fake: FakeEngine) -> None:
    with fake.engine.client() as client:
        for _ in range(KEPT + 3):
            audit.write(client, "ob", ENTRY)
        numbers = [each.number for each in audit.read_entries(client, "ob")]
        assert numbers == list(range(KEPT + 3, 3, -1))
        audit.write(client, "ob", replace(ENTRY, number=2, outcome=Outcome.SUCCEEDED))
        assert [each.number for each in audit.read_entries(client, "ob")] == numbers, "it began too long ago"


def test_two_commands_at_once_both_have_an_entry(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    busy = RefusedError(500, "rpc error: code = Unknown desc = update out of sequence")
    with fake.engine.client() as client:
        first = audit.write(client, "ob", ENTRY)
        update = f"/configs/{fake.swarm.named('configs', NAME)['ID']}/update"
        fake.swarm.refusals.append(("POST", update, busy))
        assert [first, audit.write(client, "ob", ENTRY)] == [1, 2]
        fake.swarm.refusals += [("POST", update, busy)] * 5
        with pytest.raises(docker.errors.APIError):
            audit.write(client, "ob", ENTRY)
        with monkeypatch.context() as patch:
            # The other one has created it after this one has looked for it.
            patch.setattr(object_labels, "find_config", lambda *args: None)
            assert audit.write(client, "ob", ENTRY) == 3
        assert len(audit.read_entries(client, "ob")) == 3


def test_an_error_of_the_swarm_is_not_retried(fake: FakeEngine) -> None:
    fake.swarm.refusals.append(("POST", "/configs/create", RefusedError(500, "rpc error: no leader")))
    with fake.engine.client() as client, pytest.raises(docker.errors.APIError, match="no leader"):
        audit.write(client, "ob", ENTRY)


def test_what_is_no_entry_is_ignored(fake: FakeEngine) -> None:
    with fake.engine.client() as client:
        labels = {"mine": "x", "00000001": "{", "00000002": '{"outcome": "odd"}', "00000003": "[]", "00000004": "{}"}
        client.configs.create(name=NAME, data=b"x", labels=labels)
        assert audit.read_entries(client, "ob") == []
        assert audit.write(client, "ob", ENTRY) == 1
        assert list(fake.swarm.named("configs", NAME)["Spec"]["Labels"]) == ["00000001"]
