"""The docker command line: which engine is meant, time limits, and what is said when it is not there."""

import os
import subprocess
import time
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine

from openbalena.base.errors import OperationError
from openbalena.base.names import LOCK_CONFIG
from openbalena.docker import logs
from openbalena.docker.engine import Engine, engines_for
from openbalena.swarm import job, lock
from openbalena.swarm.membership import require_manager

# As `docker service logs --timestamps` begins a line.
TIME = "2026-11-24T10:00:00.000000000Z"


def program(directory: Path, text: str) -> str:
    """A program of that shell text; it stands for the docker command line, not for an engine."""
    path = directory / "docker"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_no_docker_command(tmp_path: Path) -> None:
    with pytest.raises(OperationError, match="command not found. Install"):
        Engine(cli=str(tmp_path / "docker")).docker("info")


def test_a_failure_is_told_in_docker_s_words(tmp_path: Path) -> None:
    engine = Engine("node1", program(tmp_path, "echo no such thing >&2; exit 1"))
    with pytest.raises(OperationError, match="`docker stack rm` at node1: no such thing"):
        engine.docker("stack", "rm", "x")


def test_every_call_ends(tmp_path: Path) -> None:
    engine = Engine("node1", program(tmp_path, "exec sleep 30"))
    start = time.monotonic()
    with pytest.raises(OperationError, match=r"did not finish within 0\.2 s"):
        engine.docker("info", timeout=0.2)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(("failures", "calls"), [(0, 1), (1, 2), (4, 5), (5, 5)])
def test_what_the_swarm_changed_meanwhile_is_handed_over_again(tmp_path: Path, failures: int, calls: int) -> None:
    words = "failed to update service ob_api: Error response from daemon: rpc error: desc = update out of sequence"
    count = f"echo called >>{tmp_path}/calls; [ $(wc -l <{tmp_path}/calls) -gt {failures} ] || {{ echo '{words}' >&2"
    engine = Engine("node1", program(tmp_path, f"{count}; exit 1; }}"))
    with pytest.raises(OperationError, match="out of sequence") if failures == calls else nullcontext():
        engine.docker("stack", "deploy")
    assert len((tmp_path / "calls").read_text().splitlines()) == calls


def test_another_failure_is_told_at_once(tmp_path: Path) -> None:
    engine = Engine("node1", program(tmp_path, f"echo called >>{tmp_path}/calls; echo no such network >&2; exit 1"))
    with pytest.raises(OperationError, match="no such network"):
        engine.docker("stack", "deploy")
    assert (tmp_path / "calls").read_text() == "called\n"


def test_a_host_of_ours_wins_over_the_user_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://elsewhere:2375")
    monkeypatch.setenv("DOCKER_CONTEXT", "elsewhere")
    cli = program(tmp_path, 'echo "$@ ${DOCKER_HOST-} ${DOCKER_CONTEXT-}"')
    assert Engine(cli=cli, host="unix:///x").docker("info").split() == ["--host", "unix:///x", "info"]
    assert Engine(cli=cli).docker("info").split() == ["info", "tcp://elsewhere:2375", "elsewhere"]


def test_values_reach_docker_by_its_environment_alone(tmp_path: Path) -> None:
    cli = program(tmp_path, 'echo "$TOKEN:$*"')
    assert Engine(cli=cli).docker("x", env={"TOKEN": "geheim"}) == "geheim:x\n"
    assert "TOKEN" not in os.environ


@pytest.mark.parametrize(
    ("name", "host", "context"),
    [
        ("ssh://root@n2", "ssh://root@n2", ""),
        ("root@n2", "ssh://root@n2", ""),
        ("tcp://n2:2376", "tcp://n2:2376", ""),
        ("prod", "", "prod"),
    ],
)
def test_what_a_node_may_be_called(name: str, host: str, context: str) -> None:
    (engine,) = engines_for(Engine(), [name])
    assert (engine.host, engine.context, engine.name) == (host, context, name)


def test_an_engine_that_is_not_there(tmp_path: Path) -> None:
    engine = Engine("node1", host=f"unix://{tmp_path}/none.sock")
    socket = f"unix://{tmp_path}/none.sock"
    with pytest.raises(OperationError) as refused, engine.client():
        pass
    assert str(refused.value) == f"node1 cannot be reached ({socket}: No such file or directory): {engine.advice}"


@pytest.mark.parametrize(
    ("swarm", "says"),
    [
        ({"LocalNodeState": "inactive"}, "swarm-init"),
        ({"LocalNodeState": "locked"}, "swarm unlock"),
        ({"LocalNodeState": "active", "ControlAvailable": False, "RemoteManagers": [{"Addr": "10.0.0.1:2377"}]},
         r"is a worker.*managers: 10\.0\.0\.1"),
        ({"LocalNodeState": "active", "ControlAvailable": True, "Error": "The swarm does not have a leader"}, "leader"),
    ],
)  # fmt: skip
def test_what_is_not_a_manager(fake: FakeEngine, swarm: dict[str, Any], says: str) -> None:
    fake.says = swarm
    with fake.engine.client() as client, pytest.raises(OperationError, match=says):
        require_manager(client, fake.engine)


def test_a_log_that_hangs_is_given_up(tmp_path: Path) -> None:
    engine = Engine(cli=program(tmp_path, f"echo {TIME} one; exec sleep 30"))
    found: list[str] = []
    with pytest.raises(OperationError, match="no output for"):
        found.extend(logs.stream(engine, "service", "logs", silence=0.3))
        raise AssertionError
    start = time.monotonic()
    # Long enough for the program's start on a busy machine, short of its 30 s.
    assert logs.last_lines(engine, "t1", 5, limit=3) == ["one"]
    assert time.monotonic() - start < 20


def test_a_node_that_does_not_give_its_log_yet_is_asked_again(tmp_path: Path) -> None:
    """As docker says it of a node whose agent is connecting anew; its words are not the program's."""
    refuses = "echo 'error from daemon in stream: incomplete log stream. node x is not available' >&2; exit 1"
    script = f"[ -e {tmp_path}/asked ] && exec echo {TIME} one; touch {tmp_path}/asked; {refuses}"
    assert logs.last_lines(Engine(cli=program(tmp_path, script)), "t1", 5) == ["one"]
    assert logs.last_lines(Engine(cli=program(tmp_path, refuses)), "t1", 5, limit=1) == []


def test_a_log_ends_with_its_last_line_whole(tmp_path: Path) -> None:
    engine = Engine(cli=program(tmp_path, "printf 'one\\r\\ntwo\\n\\303\\050three'"))
    assert list(logs.stream(engine, "logs", silence=5)) == ["one", "two", "\ufffd(three"]


def test_a_terminal_gets_nothing_that_it_would_obey(tmp_path: Path) -> None:
    """A device may choose what a service logs."""
    words = r"printf '\\033]0;owned\\007\\033[31mred\\033[0m\\ttab \\302\\233c \\342\\200\\256 back\\n'"
    engine = Engine(cli=program(tmp_path, words.replace("\\\\", "\\")))
    assert list(logs.stream(engine, "logs", silence=5)) == ["\\x1b]0;owned\\x07red\ttab \\x9bc \\u202e back"]


def test_of_which_tasks_there_may_be_more_lines() -> None:
    lines = [
        *(f"2026-11-23T17:00:0{n}Z small_api.1.x@node1    | a | b" for n in range(3)),
        *(f"2026-11-23T17:00:0{n}Z small_api.2.y@node2    | c" for n in range(2)),
        *(f"db-1  | 2026-11-23T17:00:0{n}Z d" for n in range(3)),
    ]
    assert logs.cut(lines, 3) == ["db-1", "small_api.1.x@node1"]
    assert logs.cut([], 0) == [] and logs.cut(lines, 4) == []


def test_a_log_that_never_stops_talking_has_a_limit(tmp_path: Path) -> None:
    engine = Engine(cli=program(tmp_path, "while true; do echo x; sleep 0.05; done"))
    with pytest.raises(OperationError):
        list(logs.stream(engine, "logs", silence=5, limit=0.4))


def test_several_logs_are_followed_at_the_same_time_until_nobody_reads_them(tmp_path: Path) -> None:
    engine = Engine(cli=program(tmp_path, f"echo $$ >>{tmp_path}/pids; echo of $3; exec sleep 60"))
    followed = logs.streams(engine, [("service", "logs", name) for name in ("a", "b")], silence=None)
    assert {next(followed), next(followed)} == {"of a", "of b"}
    followed.close()  # type: ignore[attr-defined]
    for pid in (tmp_path / "pids").read_text().split():
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


def test_one_of_several_logs_that_fails_is_told_once_its_lines_are_read(tmp_path: Path) -> None:
    engine = Engine(cli=program(tmp_path, "echo of $3; [ $3 = a ]"))
    found: list[str] = []
    with pytest.raises(OperationError, match="`docker service logs` ended with exit code 1"):
        found.extend(logs.streams(engine, [("service", "logs", name) for name in ("a", "b")], silence=5))
    assert "of b" in found


def test_one_task_that_cannot_be_asked_does_not_cost_the_others_their_lines(tmp_path: Path) -> None:
    engine = Engine(
        cli=program(
            tmp_path,
            """case $5 in
            t1) echo '2026-11-23T17:00:22.5Z a.1.t1@node1    | second' ;;
            t2) echo '2026-11-23T17:00:05.3Z a.2.t2@node2    | first'
                echo 'incomplete log stream: node3' >&2; exit 1 ;;
            t3) exit 3 ;;
            esac""",
        )
    )
    lines, missing = logs.of_tasks(engine, ["t1", "t2", "t3"], "--tail", "5")
    assert [line.rpartition(" ")[2] for line in lines] == ["first", "second"]
    assert missing == {"t2": "incomplete log stream: node3", "t3": "`docker service logs` ended with exit code 3"}


def test_lines_of_several_nodes_in_the_order_they_were_written() -> None:
    lines = [
        "2026-11-23T17:00:22.5Z small_web.2.x@node3    | c",
        "2026-11-23T17:00:05.3Z small_web.1.x@node3    | a",
        "2026-11-23T17:00:21.0Z small_web.1.y@node1    | b",
    ]
    assert [line[-1] for line in logs.by_time(lines)] == ["a", "b", "c"]


def test_a_lock_of_this_process_is_alive_and_one_of_a_gone_process_dead() -> None:
    mine = lock.owner_labels("swarm-up", datetime.now(UTC))
    assert not lock.is_stale(mine)
    child = os.spawnlp(os.P_NOWAIT, "true", "true")
    os.waitpid(child, 0)
    assert lock.is_stale({**mine, "pid": str(child), "started": "1"})
    assert lock.is_stale({**mine, "started": "1"}), "another process has the pid now"
    with subprocess.Popen(["sleep", "60"]) as ended:
        started = lock._started(ended.pid)
        assert started
        theirs = {**mine, "pid": str(ended.pid), "started": started}
        assert not lock.is_stale(theirs)
        ended.kill()
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        assert lock.is_stale(theirs), "it has ended, although nobody has asked for it yet"
    assert not lock.is_stale({**mine, "machine": "another", "host": "another", "started": "1"}), (
        "of another machine nothing is known"
    )


def test_a_process_that_cannot_be_seen_is_not_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = lock.owner_labels("swarm-up", datetime.now(UTC))
    monkeypatch.setattr(lock, "_PROC", tmp_path)  # as hidepid makes /proc for another user's process (proc(5))
    assert not lock.is_stale(mine)
    assert lock.owner_labels("swarm-up", datetime.now(UTC))["started"] == ""
    child = os.spawnlp(os.P_NOWAIT, "true", "true")
    os.waitpid(child, 0)
    assert lock.is_stale({**mine, "pid": str(child)})
    monkeypatch.undo()
    assert not lock.is_stale({**mine, "started": ""}), "its owner could not say when it started"


@pytest.mark.parametrize("part", [slice(1), slice(12), slice(-1), slice(0)])
def test_a_lock_is_taken_over_by_its_whole_id(fake: FakeEngine, part: slice) -> None:
    labels = {"owner": "anna@laptop", "machine": "another", "pid": "77"}
    with fake.engine.client() as client:
        whole = client.configs.create(name=LOCK_CONFIG, data=b"x", labels=labels).id
        for identifier in (whole[part], f"{whole}x"):
            with pytest.raises(OperationError, match=f"anna@laptop .* --take-over {whole}$"):
                lock._acquire(client, "swarm-up", identifier)
        taken = lock._acquire(client, "swarm-up", whole)
    assert list(fake.swarm.configs) == [taken] and taken != whole


def test_a_lock_is_held_for_as_long_as_the_change_and_then_removed(fake: FakeEngine) -> None:
    fake.swarm.node("node1", "manager")
    with fake.engine.client() as client:
        job.start_job(fake.engine, job.Job("look", "id-node1", "busybox", "true"))
        with pytest.raises(KeyError), lock.acquire(client, "swarm-up"):
            (held,) = fake.swarm.configs.values()
            assert held["Spec"]["Name"] == LOCK_CONFIG and held["Spec"]["Labels"]["purpose"] == "swarm-up"
            assert not fake.swarm.services, "a run that was killed left it"
            with pytest.raises(OperationError, match="has been running swarm-up"), lock.acquire(client, "swarm-down"):
                pass
            raise KeyError
    assert not fake.swarm.configs


def test_the_lock_of_a_process_of_this_machine_that_is_gone_is_taken_over(fake: FakeEngine) -> None:
    labels = {**lock.owner_labels("swarm-up", datetime.now(UTC)), "started": "1"}
    with fake.engine.client() as client:
        client.configs.create(name=LOCK_CONFIG, data=b"x", labels=labels)
        with lock.acquire(client, "swarm-down"):
            (held,) = fake.swarm.configs.values()
            assert held["Spec"]["Labels"]["purpose"] == "swarm-down"
