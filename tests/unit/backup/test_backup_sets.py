"""Which snapshots are a backup, and what a manifest has."""

import json
from dataclasses import replace
from typing import Any

import pytest
from backup_facts import MANIFEST, PARTS, saved

from openbalena.backup import manifest, repository, results, sets
from openbalena.backup.sets import Sets
from openbalena.base.errors import OperationError


def snapshots(set_id: str, *, begun: int = 0, parts: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """Those of one set as restic lists them, the manifest last."""
    found = saved({name: f"{set_id}-{snapshot}" for name, snapshot in (parts or PARTS).items()})
    tagged = [(part.snapshot + "0000", sets.part_tags(set_id, name)) for name, part in found.items()]
    tagged.append((f"{set_id}-m", sets.manifest_tags(set_id, "swarm", "ob", found)))
    return [
        {"id": identifier, "time": f"2026-11-26T1{begun}:00:0{number}Z", "hostname": "my.example.com", "tags": tags}
        for number, (identifier, tags) in enumerate(tagged)
    ]


def read(*listed: dict[str, Any]) -> Sets:
    return sets.read_sets(json.dumps(listed))


def test_a_set_is_what_its_manifest_names() -> None:
    (found,) = read(*snapshots("a")).backups
    assert found.complete and found.parts == {name: f"a-{snapshot}" for name, snapshot in PARTS.items()}
    assert (found.bytes, found.mode, found.stack, found.manifest) == (12, "swarm", "ob", "a-m")
    assert found.created == "2026-11-26T10:00:03Z"


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_set_that_was_interrupted_is_not_listed(number: int) -> None:
    found = read(*snapshots("a", begun=1)[:number], *snapshots("b"))
    assert [each.id for each in found.backups] == ["b"]
    (only,) = found.unfinished
    assert (only.id, only.domain, len(only.snapshots)) == ("a", "my.example.com", number)
    assert only.created == f"2026-11-26T11:00:0{number - 1}Z"
    with pytest.raises(OperationError, match="backup a was interrupted before it was complete"):
        found.find("a")
    assert found.find("latest").id == "b"


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_part_that_was_removed_later_is_missed(number: int) -> None:
    listed = snapshots("a")
    del listed[number]
    found = read(*listed)
    assert found.backups[0].missing == (list(PARTS)[number],) and found.unfinished == ()
    with pytest.raises(OperationError, match=f"the repository no longer has its {list(PARTS)[number]}"):
        found.find("a")
    with pytest.raises(OperationError, match=r"no backup begins with latest \(newest: none\)"):
        found.find("latest")


def test_the_oldest_is_first_whatever_the_order() -> None:
    found = read(*snapshots("b", begun=1), *snapshots("a"), *snapshots("ab", begun=2))
    assert [each.id for each in found.backups] == ["a", "b", "ab"]
    assert found.find("latest").id == "ab" == found.find("ab").id
    with pytest.raises(OperationError, match=r"several backups begin with a \(newest: a, b, ab\)"):
        found.find("a")


def test_the_latest_is_that_of_the_own_domain_where_several_share_a_repository() -> None:
    other = [{**each, "hostname": "other.example.com"} for each in snapshots("b", begun=1)]
    found = read(*snapshots("a"), *other)
    assert found.find("latest", "my.example.com").id == "a"
    assert found.find("latest", "new.example.com").id == "b"
    with pytest.raises(OperationError, match=r"^the repository has backups of .*, .*: name one by its id$"):
        found.find("latest")


def test_snapshots_of_others_are_left_alone() -> None:
    other = {"id": "x", "time": "2026-11-26T10:00:00Z", "hostname": "h", "tags": None}
    assert read(other) == Sets((), ())


@pytest.mark.parametrize("text", ["", "{}x", "null", "[1]", '[{"id": "a"}]'])
def test_what_is_no_list_of_snapshots_is_an_error(text: str) -> None:
    with pytest.raises(OperationError, match="the list of snapshots cannot be read"):
        sets.read_sets(text)


def test_a_manifest_is_read_as_it_was_written() -> None:
    made = replace(MANIFEST, parts=saved(PARTS), volumes={"volume.db-data": "id node1"}, left_out=["x"])
    assert manifest.from_text(made.text()) == made and made.bytes == 12


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"format": 1, "parts": {"a": {}}}', '{"format": "x"}'])
def test_a_damaged_manifest_is_an_error(text: str) -> None:
    with pytest.raises(OperationError, match="manifest cannot be read"):
        manifest.from_text(text)


def test_a_manifest_of_a_newer_version_is_refused() -> None:
    text = json.dumps({**json.loads(MANIFEST.text()), "format": 2, "version": "9.0.0", "more": 1})
    with pytest.raises(OperationError, match=r"newer version \(9.0.0\), whose format 2"):
        manifest.from_text(text)


def test_output_that_was_cut_off_is_an_error() -> None:
    with pytest.raises(OperationError, match="not complete"):
        results.unpacked("H4sIAAAAAAAA")
    with pytest.raises(OperationError, match="no result in the output of the task: created"):
        results.saved_part(["created"])


def test_values_reach_the_shell_as_they_are() -> None:
    made = repository.Repository("s3:https://host/a", "it's $HOME", "key", "")
    assert made.variables(made.address).splitlines() == [
        "export RESTIC_REPOSITORY=s3:https://host/a",
        """export RESTIC_PASSWORD='it'"'"'s $HOME'""",
        "export AWS_ACCESS_KEY_ID=key",
    ]
