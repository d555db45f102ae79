"""swarm-join on two fake engines: a manager's, and one that is reached by a program in place of ssh."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from fake_engine import FakeEngine, docker_program, fake_engine
from hearing import Listener, workspace_on

from openbalena.base.errors import OpenBalenaError, OperationError, UsageError
from openbalena.base.names import STACK_LABEL
from openbalena.cli.main import main
from openbalena.docker.ssh import run_script, ssh_url
from openbalena.operations.join_node import JoinOptions, JoinResult, join_node
from openbalena.operations.workspace import Workspace
from openbalena.storage import record
from openbalena.storage.record import VolumeLocation, VolumeRegistry
from openbalena.swarm import lock

# What the scripts need, of this machine.
_TOOLS = ("bash", "cat", "date", "echo", "grep", "sh", "sleep", "tail", "uname")
_STAND_INS = {
    "id": "echo 0",
    "unshare": "exit 0",
    # A connection that is made.
    "timeout": "exit 0",
    "df": "echo; echo disk 1000000 100 900000 1% /",
}


class Host:
    """A machine that `ssh` reaches: its engine, and its programs in `bin`; `log` has the arguments of each ssh."""

    def __init__(self, directory: Path, engine: FakeEngine) -> None:
        self.engine = engine
        self.bin = directory / "host"
        self.log = directory / "ssh.log"
        self.bin.mkdir()
        for name in _TOOLS:
            (self.bin / name).symlink_to(str(shutil.which(name)))
        for name, text in _STAND_INS.items():
            self.program(name, text)
        self.program("docker", self.docker)
        here = directory / "bin"
        here.mkdir()
        ssh = here / "ssh"
        ssh.write_text(
            f'#!/bin/sh\necho "$@" >>{self.log}\nexport PATH={self.bin}\n'
            'case "$*" in *dial-stdio) exec docker system dial-stdio ;; *"sh -s") exec sh -s ;; esac\nexit 255\n'
        )
        ssh.chmod(0o755)

    @property
    def docker(self) -> str:
        """Its docker command line."""
        return f'DOCKER_HOST={self.engine.url} exec {docker_program()} "$@"'

    def program(self, name: str, text: str) -> None:
        """Give it a program of that shell text."""
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)


@pytest.fixture
def host(fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A machine named node4, which joins the swarm of `fake`."""
    # A directory with a short name, as for `fake`.
    with TemporaryDirectory() as directory, fake_engine(Path(directory)) as engine:
        engine.hostname, engine.joins = "node4", fake.swarm
        made = Host(tmp_path, engine)
        monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
        yield made


@pytest.fixture
def workspace(fake: FakeEngine, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A project whose engine is the manager node1 of a swarm with the worker node2."""
    directory = tmp_path / "project"
    directory.mkdir()
    made = workspace_on(fake, directory, monkeypatch)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    fake.swarm.node("node1", "manager")
    fake.swarm.node("node2")
    return made


def join(workspace: Workspace, listener: Listener | None = None, **options: Any) -> JoinResult:
    return join_node(JoinOptions("root@node4", **options), workspace, listener or Listener())


def refusal(workspace: Workspace, listener: Listener | None = None, **options: Any) -> str:
    with pytest.raises(OpenBalenaError) as refused:
        join(workspace, listener, **options)
    return str(refused.value)


@pytest.mark.parametrize(("role", "becomes"), [("", "worker"), ("worker", "worker"), ("manager", "manager")])
def test_a_machine_joins_and_is_labelled(
    role: str, becomes: str, workspace: Workspace, fake: FakeEngine, host: Host
) -> None:
    result = join(workspace, role=role, labels={"openbalena.ingress": "true"}, advertise_addr="10.9.0.4")
    assert (result.node.hostname, result.node.role, result.joined) == ("node4", becomes, True)
    assert not result.deployed and not result.previous and not result.volumes
    assert fake.swarm.nodes["id-node4"]["Spec"]["Labels"] == {"openbalena.ingress": "true"}
    asked = host.engine.joined_with
    assert asked["RemoteAddrs"] == ["10.9.0.1:2377"] and asked["AdvertiseAddr"] == "10.9.0.4"
    assert asked["JoinToken"] == f"SWMTKN-1-{becomes}"
    assert "SWMTKN" not in host.log.read_text(), "a process list would show it"
    again = join(workspace, role=role)
    assert not again.joined and again.node.id == result.node.id


def test_another_role_is_not_given(workspace: Workspace, host: Host) -> None:
    join(workspace)
    assert refusal(workspace, role="manager").endswith(
        "a worker of this swarm already: run `docker node promote node4`"
    )


def test_what_speaks_against_a_machine_is_said_at_once(workspace: Workspace, fake: FakeEngine, host: Host) -> None:
    host.engine.hostname = "node2"
    host.program("timeout", "exit 1")
    host.program("unshare", "echo no such algorithm; exit 3")
    listener = Listener()
    text = refusal(workspace, listener)
    assert text.startswith("root@node4 cannot join the swarm:\n  its hostname is node2, as that of another node")
    assert "it cannot connect to 2377/tcp of node1 (10.9.0.1)" in text
    assert "it cannot connect to 7946/tcp of node2 (10.9.0.2)" in text and "2377/tcp of node2" not in text
    assert "has no ESP (IPsec) with AES-GCM in its kernel (no such algorithm)" in text
    assert not host.engine.joined_with and "node4" not in str(fake.swarm.nodes)


def test_one_that_has_just_left_is_waited_for(workspace: Workspace, fake: FakeEngine, host: Host) -> None:
    before = fake.swarm.node("before")
    # The address that it will have again.
    before["Description"]["Hostname"], before["Status"]["Addr"] = "node4", "10.9.0.4"

    class Noticing(Listener):
        def progress(self, text: str) -> None:
            super().progress(text)
            if text.startswith("the swarm lists node4 as ready: waiting if it has left: "):
                fake.swarm.nodes["id-before"]["Status"]["State"] = "down"

    result = join(workspace, Noticing())
    assert result.joined and [node.id for node in result.previous] == ["id-before"]


def test_a_lost_node_that_may_be_the_same_machine_is_named_and_kept(
    workspace: Workspace, fake: FakeEngine, host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    before = fake.swarm.node("before")
    before["Description"]["Hostname"], before["Status"] = "node4", {"State": "down", "Addr": "10.9.9.9"}
    main(["--project-directory", str(workspace.project.directory), "swarm-join", "root@node4"])
    shown = capsys.readouterr().out
    assert "node4 (10.9.9.9) is still listed, as down. If that was this machine: " in shown
    assert "swarm-remove id-before\n" in shown and "id-before" in fake.swarm.nodes


def test_a_machine_of_another_swarm_is_refused(workspace: Workspace, host: Host) -> None:
    remote = [{"NodeID": "x", "Addr": "10.8.0.1:2377"}]
    host.engine.says = {"LocalNodeState": "active", "NodeID": "y", "RemoteManagers": remote}
    assert "is in another swarm (managers: 10.8.0.1:2377): if" in refusal(workspace)
    host.engine.says = {"LocalNodeState": "locked", "NodeID": "y", "RemoteManagers": None}
    assert "is in another swarm: if" in refusal(workspace)


def test_one_that_was_removed_without_leaving_joins_if_the_user_agrees(
    workspace: Workspace, fake: FakeEngine, host: Host
) -> None:
    remote = [{"NodeID": "id-node1", "Addr": "10.9.0.1:2377"}]
    # Its engine tries without end to reach a manager that takes it.
    host.engine.says = {"LocalNodeState": "pending", "NodeID": "gone", "RemoteManagers": remote}
    began = fake.swarm.clock.now
    assert refusal(workspace, Listener(agrees=False)) == "root@node4 did not join"
    assert host.engine.says["NodeID"] == "gone"
    listener = Listener()
    assert join(workspace, listener).joined
    assert fake.swarm.clock.now - began < 5, "it is known at once"
    assert listener.questions == [
        "root@node4 was removed from this swarm without leaving it. Let it join as a new node?"
    ]


def test_the_user_is_asked_without_the_lock_and_everything_is_checked_again(
    workspace: Workspace, fake: FakeEngine, host: Host
) -> None:
    remote = [{"NodeID": "id-node1", "Addr": "10.9.0.1:2377"}]
    host.engine.says = {"LocalNodeState": "active", "NodeID": "gone", "RemoteManagers": remote}

    class Slow(Listener):
        def confirm(self, question: str) -> bool:
            with fake.engine.client() as client, lock.acquire(client, "swarm-up"):
                # Meanwhile somebody lets it join another swarm.
                host.engine.says["RemoteManagers"] = [{"NodeID": "x", "Addr": "10.8.0.1:2377"}]
            return super().confirm(question)

    listener = Slow()
    assert "is in another swarm (managers: 10.8.0.1:2377): if" in refusal(workspace, listener)
    assert len(listener.questions) == 1 and host.engine.says["NodeID"] == "gone"


def test_a_join_that_has_begun_is_waited_for(workspace: Workspace, fake: FakeEngine, host: Host) -> None:
    remote = [{"NodeID": "id-node1", "Addr": "10.9.0.1:2377"}]
    host.engine.says = {"LocalNodeState": "pending", "NodeID": "", "RemoteManagers": remote}
    assert refusal(workspace).startswith("root@node4 is still trying to join a swarm, after 120 s: see the log")
    fake.swarm.node("node4")
    host.engine.says = {"LocalNodeState": "pending", "NodeID": "id-node4", "RemoteManagers": remote}

    class Joining(Listener):
        def progress(self, text: str) -> None:
            super().progress(text)
            if text.startswith("waiting for root@node4 to join: "):
                host.engine.says["LocalNodeState"] = "active"

    listener = Joining()
    assert not join(workspace, listener).joined and not listener.questions


def test_a_label_of_data_that_another_node_has_is_refused(workspace: Workspace, fake: FakeEngine, host: Host) -> None:
    fake.swarm.nodes["id-node2"]["Spec"]["Labels"] = {"openbalena.data.db-data": "true"}
    text = refusal(workspace, labels={"openbalena.data.db-data": "true"})
    assert text.startswith("--label openbalena.data.db-data: the data of db-data is on node2: join without it")
    assert not host.engine.joined_with
    join(workspace, labels={"openbalena.data.s3-data": "true"})
    assert fake.swarm.nodes["id-node4"]["Spec"]["Labels"] == {"openbalena.data.s3-data": "true"}


def test_volumes_follow_a_machine_that_joins_again_if_it_still_has_them(
    workspace: Workspace, fake: FakeEngine, host: Host
) -> None:
    labels = {"openbalena.data.db-data": "true", "openbalena.data.s3-data": "true", "other": "x"}
    fake.swarm.node("before", **labels)["Description"]["Hostname"] = "node4"
    fake.swarm.nodes["id-before"]["Status"]["State"] = "down"
    with fake.engine.client() as client:
        places = {name: VolumeLocation("id-before", "node4") for name in ("db-data", "s3-data")}
        record.write_registry(
            client, "ob", VolumeRegistry({**places, "redis-data": VolumeLocation("id-node2", "node2")})
        )
    host.engine.volumes = {"ob_db-data": {STACK_LABEL: "ob"}, "s3-data": {}, "ob_redis-data": {STACK_LABEL: "ob"}}
    assert join(workspace).volumes == ("db-data",)
    assert fake.swarm.nodes["id-node4"]["Spec"]["Labels"] == {"openbalena.data.db-data": "true"}
    assert fake.swarm.nodes["id-before"]["Spec"]["Labels"] == {"openbalena.data.s3-data": "true", "other": "x"}
    with fake.engine.client() as client:
        found = {volume: place.node for volume, place in record.read_registry(client, "ob").places.items()}
    assert found == {"db-data": "id-node4", "s3-data": "id-before", "redis-data": "id-node2"}
    assert join(workspace).volumes == ()


def test_an_engine_that_does_not_join_in_time(workspace: Workspace, host: Host) -> None:
    host.engine.joins = None
    assert "Timeout was reached before node joined." in refusal(workspace)


def test_one_that_has_joined_and_is_not_ready(workspace: Workspace, fake: FakeEngine, host: Host) -> None:
    join(workspace)
    fake.swarm.nodes["id-node4"]["Status"]["State"] = "down"
    assert refusal(workspace, timeout=30).startswith(
        "root@node4 is not ready in the swarm after 30 s: see `docker info`"
    )


def test_an_engine_is_installed_only_if_that_is_asked_for(workspace: Workspace, host: Host, tmp_path: Path) -> None:
    (host.bin / "docker").unlink()
    assert "root@node4 has no docker command line: install Docker Engine" in refusal(workspace)
    assert "--install-engine" in refusal(workspace)
    host.program("apt-cache", 'echo "$2:"; echo "  Candidate: 26.1.5+dfsg1-9"')
    installed = f'echo "$@" >>{tmp_path}/apt'
    host.program("apt-get", f"{installed}\ncase $* in *install*) /bin/mv {host.bin}/new {host.bin}/docker ;; esac")
    host.program("new", host.docker)
    listener = Listener()
    assert join(workspace, listener, install_engine=True).joined
    assert "installing Docker Engine 26.1.5 on root@node4 (at most 30 minutes) …" in listener.told
    update, install = (tmp_path / "apt").read_text().splitlines()
    assert update == "-qq update" and install.endswith("docker.io docker-cli iptables ca-certificates")


def test_a_host_that_ssh_does_not_reach(host: Host, workspace: Workspace) -> None:
    (host.bin / "sh").unlink()
    host.program("sh", "echo Permission denied >&2; exit 255")
    text = refusal(workspace)
    assert text.startswith("node4 cannot be reached over ssh (Permission denied): check that `ssh root@node4` gets in")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("node4", "ssh://node4"),
        ("root@node4", "ssh://root@node4"),
        ("ssh://root@node4:2222", "ssh://root@node4:2222"),
        ("tcp://node4", "tcp://node4: expected user@host or ssh://user@host[:port]"),
        ("-oProxyCommand=x", "-oProxyCommand=x: expected user@host or ssh://user@host[:port]"),
        ("root@node4/path", "root@node4/path: expected user@host or ssh://user@host[:port]"),
        ("node4:ssh", "node4:ssh: expected user@host or ssh://user@host[:port]"),
        ("ssh://node4:70000", "ssh://node4:70000: expected user@host or ssh://user@host[:port]"),
        ("ssh://[node4", "ssh://[node4: expected user@host or ssh://user@host[:port]"),
        ("ssh://root@[2001:db8::4]:22", "ssh://root@[2001:db8::4]:22"),
        ("", ": expected user@host or ssh://user@host[:port]"),
    ],
)
def test_names_of_hosts(name: str, expected: str) -> None:
    try:
        found = ssh_url(name)
    except UsageError as error:
        found = str(error)
    assert found == expected


def test_a_script_has_its_error_and_its_time(host: Host) -> None:
    assert run_script("ssh://root@node4:2222", "echo one; echo two", 30) == "one\ntwo\n"
    assert host.log.read_text().endswith("-p 2222 -- root@node4 sh -s\n")
    with pytest.raises(OperationError, match=r"^node4: not here$"):
        run_script("ssh://node4", "echo not here >&2; exit 3", 30)
    with pytest.raises(OperationError, match=r"the script on node4 did not finish within 0\.2 s"):
        run_script("ssh://node4", "exec sleep 30", 0.2)


def test_no_ssh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert os.environ["PATH"] == str(tmp_path)
    with pytest.raises(OperationError, match="ssh: command not found"):
        run_script("ssh://node4", "true", 30)
