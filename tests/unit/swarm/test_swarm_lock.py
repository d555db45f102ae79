"""The cluster's lock: who gets it, whose is stale, and what its labels say."""

import os
import socket
from datetime import UTC, datetime
from pathlib import Path

import docker
import pytest
from fake_engine import FakeEngine
from fake_swarm import RefusedError

from openbalena.base.errors import OperationError
from openbalena.base.names import LOCK_CONFIG
from openbalena.swarm import lock

NOW = datetime(2026, 11, 23, 10, 0, 0, 700_000, tzinfo=UTC)
TAKEN = RefusedError(409, "rpc error: code = AlreadyExists")
OTHER = f"{LOCK_CONFIG}-mine"


def test_the_labels_of_a_lock_name_its_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "anna")
    labels = lock.owner_labels("swarm-up", NOW)
    assert {name: labels[name] for name in ("owner", "purpose", "since", "pid")} == {
        "owner": f"anna@{socket.gethostname()}",
        "purpose": "swarm-up",
        "since": "2026-11-23T10:00:00+00:00",
        "pid": str(os.getpid()),
    }
    assert labels["started"].isdigit() and labels["started"] == labels["started"].lstrip("0")
    assert Path("/proc/sys/kernel/random/boot_id").read_text().strip() in labels["machine"]


def test_without_a_boot_id_the_hostname_is_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(lock, "Path", lambda _: tmp_path / "absent")
    assert lock.owner_labels("swarm-up", NOW)["machine"] == socket.gethostname()


@pytest.mark.parametrize(
    ("changed", "stale"),
    [
        ({}, False),
        # A process that started at another time, whichever of the two sorts first, had the same pid.
        ({"started": "1"}, True),
        ({"started": "~"}, True),
        # Nothing is known about a process of another machine, or one without a pid.
        ({"started": "1", "machine": ""}, False),
        ({"started": "1", "machine": "~", "host": "another"}, False),
        ({"started": "1", "pid": ""}, False),
        ({"started": "1", "pid": "-1"}, False),
        # A pid beyond the highest one of Linux (proc(5), pid_max).
        ({"pid": str(1 << 22)}, True),
        ({"pid": str(1 << 22), "started": ""}, True),
        ({"started": ""}, False),
    ],
)
def test_a_lock_is_stale_if_its_process_is_known_to_have_ended(changed: dict[str, str], *, stale: bool) -> None:
    assert lock.is_stale({**lock.owner_labels("swarm-up", NOW), **changed}) is stale


@pytest.mark.parametrize(
    ("theirs", "here", "stale"),
    [
        ({"host": "one", "machine": "an-earlier-boot pid:[1]"}, "one", True),
        ({"host": "two", "machine": "an-earlier-boot pid:[1]"}, "one", False),
        # Nothing is known of a container's machine, nor of one whose lock an earlier version made.
        ({"host": "", "machine": "an-earlier-boot pid:[1]"}, "", False),
        ({"machine": "an-earlier-boot pid:[1]"}, "one", False),
        ({"host": "one", "machine": ""}, "one", False),
        ({"host": "one"}, "one", False),
    ],
)
def test_a_lock_of_an_earlier_boot_of_this_machine_is_stale(
    theirs: dict[str, str], here: str, monkeypatch: pytest.MonkeyPatch, *, stale: bool
) -> None:
    labels = {**lock.owner_labels("backup create", NOW), "host": "", **theirs}
    monkeypatch.setattr(lock, "_host", lambda: here)
    assert lock.is_stale(labels) is stale


def test_a_machine_has_an_id_only_outside_of_containers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "machine-id").write_text("0123456789abcdef\n")
    (tmp_path / "pid").symlink_to("pid:[4026531836]")
    monkeypatch.setattr(lock, "Path", lambda path: tmp_path / Path(path).name)
    known = lock.owner_labels("swarm-up", NOW)["host"]
    assert len(known) == 32 and "0123456789abcdef" not in known
    (tmp_path / "pid").unlink()
    (tmp_path / "pid").symlink_to("pid:[4026532000]")
    assert not lock.owner_labels("swarm-up", NOW)["host"]


@pytest.mark.parametrize("label", ["machine", "pid"])
def test_a_lock_without_a_label_is_not_stale(label: str) -> None:
    labels = {**lock.owner_labels("swarm-up", NOW), "started": "1"}
    del labels[label]
    assert not lock.is_stale(labels)


@pytest.mark.parametrize(
    ("name", "state", "stale"),
    [("sleep", "S", False), ("sleep", "R", False), ("a) Z (b c", "S", False), ("sleep", "Z", True),
     ("sleep", "X", True)],
)  # fmt: skip
def test_the_state_of_a_process_is_behind_its_name(
    name: str, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, stale: bool
) -> None:
    """As proc(5) describes /proc/PID/stat: field 3 is the state, field 22 the start time."""
    (tmp_path / "77").mkdir()
    numbers = " ".join(str(field) for field in range(4, 53))
    (tmp_path / "77" / "stat").write_text(f"77 ({name}) {state} {numbers}\n")
    monkeypatch.setattr(lock, "_PROC", tmp_path)
    labels = {**lock.owner_labels("swarm-up", NOW), "pid": "77"}
    assert lock.is_stale({**labels, "started": "22"}) is stale
    assert lock.is_stale({**labels, "started": "21"}) is True


@pytest.mark.parametrize(("tries", "acquired"), [(1, True), (2, True), (3, False)])
def test_a_lock_that_was_released_meanwhile_is_tried_three_times(
    fake: FakeEngine, tries: int, *, acquired: bool
) -> None:
    fake.swarm.refusals = [("POST", "/configs/create", TAKEN)] * tries
    with fake.engine.client() as client:
        if acquired:
            with lock.acquire(client, "swarm-up"):
                assert [item["Spec"]["Name"] for item in fake.swarm.configs.values()] == [LOCK_CONFIG]
        else:
            with pytest.raises(OperationError, match="could not get the lock"), lock.acquire(client, "swarm-up"):
                pass
    assert not fake.swarm.refusals and not fake.swarm.configs


def test_commands_of_the_holder_use_its_lock_and_later_ones_do_not(fake: FakeEngine) -> None:
    taken = ("POST", "/configs/create", RefusedError(500, "acquired again"))
    with fake.engine.client() as client:
        with lock.acquire_for_commands(client, "migrate"):
            fake.swarm.refusals = [taken]
            with lock.acquire(client, "swarm-up"):
                pass
            assert len(fake.swarm.configs) == 1 and fake.swarm.refusals, "it is still held"
        with pytest.raises(docker.errors.APIError, match="acquired again"), lock.acquire(client, "swarm-up"):
            pass
    assert not fake.swarm.configs


def test_a_config_whose_name_only_begins_like_the_locks_is_not_the_lock(fake: FakeEngine) -> None:
    with fake.engine.client() as client:
        client.configs.create(name=OTHER, data=b"x", labels={"owner": "anna"})
        fake.swarm.refusals = [("POST", "/configs/create", TAKEN)]
        with lock.acquire(client, "swarm-up"):
            assert len(fake.swarm.configs) == 2
    assert [item["Spec"]["Name"] for item in fake.swarm.configs.values()] == [OTHER]


@pytest.mark.parametrize("status", [400, 403, 408, 410, 500])
def test_another_refusal_is_not_taken_for_a_lock(fake: FakeEngine, status: int) -> None:
    fake.swarm.refusals = [("POST", "/configs/create", RefusedError(status, "not a conflict"))]
    refused = pytest.raises(docker.errors.APIError, match="not a conflict")
    with fake.engine.client() as client, refused, lock.acquire(client, "swarm-up"):
        pass
    assert not fake.swarm.refusals and not fake.swarm.configs


def test_a_lock_without_labels_is_somebodys(fake: FakeEngine) -> None:
    with fake.engine.client() as client:
        held = client.configs.create(name=LOCK_CONFIG, data=b"x").id
        fake.swarm.configs[held]["Spec"]["Labels"] = None
        with pytest.raises(OperationError) as refused, lock.acquire(client, "swarm-up"):
            pass
    assert str(refused.value).startswith(
        "someone has been running a deployment (process ?) for an unknown time: wait until it has finished."
    )
    assert list(fake.swarm.configs) == [held]


def test_a_lock_that_was_taken_over_is_left_to_its_new_owner(fake: FakeEngine) -> None:
    with fake.engine.client() as client:
        with lock.acquire(client, "swarm-up"):
            (mine,) = fake.swarm.configs
            with lock.acquire(client, "swarm-down", mine):
                (theirs,) = fake.swarm.configs
                assert theirs != mine
        assert not fake.swarm.configs
