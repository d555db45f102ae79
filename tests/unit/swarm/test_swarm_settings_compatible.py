"""Which settings may replace those in the swarm, and what is kept of a stored version."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_engine import FakeEngine

from openbalena.base.errors import OperationError
from openbalena.swarm import settings_store
from openbalena.swarm.settings_store import StoredSettings

CASES = yaml.safe_load(Path(__file__).with_name("settings_store.yml").read_text(encoding="utf-8"))
MARKS = {"ca": "C", "former": "F", "tokens": "T", "later": "L"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_settings_replace_those_that_they_continue(case: dict[str, Any]) -> None:
    stored = case["stored"] and StoredSettings("id", "name", 1, "anna@laptop", **case["stored"])
    if case["fits"]:
        settings_store.require_compatible(stored, MARKS, case["base"])
        return
    with pytest.raises(OperationError, match="anna@laptop") as refused:
        settings_store.require_compatible(stored, MARKS, case["base"])
    assert ("a different CA" in str(refused.value)) == (case["stored"]["ca"] != "C")


def test_a_version_is_stored_with_its_marks_and_found_by_its_stack(fake: FakeEngine) -> None:
    with fake.engine.client() as client:
        assert settings_store.latest(client, "ob") is None and settings_store.stacks(client) == []
        settings_store.save(client, "ob", b"one", MARKS, "anna@laptop")
        settings_store.save(client, "other", b"one", MARKS, "ben@desk")
        assert settings_store.stacks(client) == ["ob", "other"]
        found = settings_store.latest(client, "ob")
        assert found is not None
        assert (found.order, found.owner, found.ca, found.tokens, found.later) == (1, "anna@laptop", "C", "T", "L")
        assert (found.node, found.image) == ("", "")
        settings_store.record_reader(client, found, "id-node1", "a:1")
        read = settings_store.latest(client, "ob")
        assert read is not None and (read.node, read.image, read.tokens, read.order) == ("id-node1", "a:1", "T", 1)
        settings_store.save(client, "ob", b"two", MARKS, "anna@laptop")
        newest = settings_store.latest(client, "ob")
        assert newest is not None and newest.order == 2 and newest.node == "" and newest.name != found.name
        assert len(fake.swarm.secrets) == 3
        settings_store.forget(client, "ob")
        assert settings_store.latest(client, "ob") is None and settings_store.stacks(client) == ["other"]


@pytest.mark.parametrize("mark", ["X", "A"])
@pytest.mark.parametrize("changed", ["ca", "tokens", "later"])
def test_the_same_content_with_other_marks_gets_these(changed: str, mark: str, fake: FakeEngine) -> None:
    with fake.engine.client() as client:
        settings_store.save(client, "ob", b"one", MARKS, "anna@laptop")
        asked = list(fake.swarm.asked)
        settings_store.save(client, "ob", b"one", MARKS, "ben@desk")
        assert fake.swarm.asked == asked, "nothing has changed"
        settings_store.save(client, "ob", b"one", {**MARKS, changed: mark}, "ben@desk")
        found = settings_store.latest(client, "ob")
    assert found is not None and getattr(found, changed) == mark and (found.order, found.owner) == (1, "anna@laptop")


def test_a_secret_whose_name_only_begins_like_the_new_one_is_kept(fake: FakeEngine) -> None:
    with fake.engine.client() as client:
        settings_store.save(client, "ob", b"one", MARKS, "anna@laptop")
        (name,) = (each["Spec"]["Name"] for each in fake.swarm.secrets.values())
        settings_store.forget(client, "ob")
        client.secrets.create(name=f"{name}-mine", data=b"x")
        client.secrets.create(name=name, data=b"x")
        settings_store.save(client, "ob", b"one", MARKS, "anna@laptop")
        assert sorted(each["Spec"]["Name"] for each in fake.swarm.secrets.values()) == [name, f"{name}-mine"]
        found = settings_store.latest(client, "ob")
    assert found is not None and found.name == name


def test_a_version_without_a_count_comes_before_the_first_one(fake: FakeEngine) -> None:
    with fake.engine.client() as client:
        settings_store.save(client, "ob", b"one", MARKS, "anna@laptop")
        (secret,) = fake.swarm.secrets.values()
        secret["Spec"]["Labels"] = {name: value for name, value in secret["Spec"]["Labels"].items()
                                    if name in ("openbalena.settings.ca", "openbalena.settings.stack")}  # fmt: skip
        found = settings_store.latest(client, "ob")
        assert found == StoredSettings(secret["ID"], secret["Spec"]["Name"], 0, "someone", "C", "")
        settings_store.save(client, "ob", b"two", MARKS, "ben@desk")
        newest = settings_store.latest(client, "ob")
    assert newest is not None and (newest.order, newest.owner) == (1, "ben@desk")


def test_the_settings_of_a_stack_without_a_name_are_listed(fake: FakeEngine) -> None:
    with fake.engine.client() as client:
        client.secrets.create(name="old", data=b"x", labels={"openbalena.settings.ca": "C"})
        settings_store.save(client, "ob", b"one", MARKS, "anna@laptop")
        assert settings_store.stacks(client) == ["", "ob"]
        settings_store.forget(client, "ob")
        assert settings_store.stacks(client) == [""]
