"""What of the lab can be tried without root."""

import fcntl
import ipaddress
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbalena.base.errors import OperationError
from openbalena.lab import capabilities, endpoint, host, network, node, paths, roots, state
from openbalena.lab.lifecycle import up

LAB = state.numbered("198.18.4.0/24", "/nowhere", managers=3, workers=2)
# Around 198.18.0.0/15, and some of them as large as half of it or larger.
SUBNETS = st.tuples(st.integers(0, 2**18 - 1), st.integers(14, 32)).map(
    lambda pair: str(ipaddress.ip_network((int(ipaddress.ip_address("198.16.0.0")) + pair[0], pair[1]), strict=False))
)


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(paths.VARIABLE, str(tmp_path))
    return tmp_path


@given(st.lists(SUBNETS, max_size=20))
def test_the_subnet_overlaps_nothing_that_is_taken(taken: list[str]) -> None:
    networks = [ipaddress.ip_network(item) for item in taken]
    try:
        chosen = ipaddress.IPv4Network(network.choose_subnet(taken))
    except OperationError:
        assert all(any(c.overlaps(n) for n in networks) for c in network.RANGE.subnets(new_prefix=24))
    else:
        assert chosen.prefixlen == 24
        assert chosen.subnet_of(network.RANGE)
        assert not any(chosen.overlaps(n) for n in networks)


def test_addresses_in_use_are_left_alone() -> None:
    assert network.choose_subnet([]) == "198.18.0.0/24"
    assert network.choose_subnet(["198.18.0.9", "198.18.1.128/25", "10.0.0.0/8"]) == "198.18.2.0/24"


def test_nodes_have_names_addresses_and_roles() -> None:
    assert [(n.name, n.address, n.manager) for n in LAB.nodes] == [
        ("node1", "198.18.4.11", True),
        ("node2", "198.18.4.12", True),
        ("node3", "198.18.4.13", True),
        ("node4", "198.18.4.14", False),
        ("node5", "198.18.4.15", False),
    ]
    assert LAB.gateway == "198.18.4.1"


def test_an_unknown_node_is_answered_with_those_there_are() -> None:
    with pytest.raises(OperationError, match="no node node9 in the lab: expected one of node1, node2"):
        LAB.node("node9")


def test_the_state_is_found_again(own_directory: Path) -> None:
    assert state.load_lab() is None
    state.save(LAB)
    assert state.load_lab() == LAB
    file = own_directory / "state.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "of_another_version": True}))
    assert state.load_lab() == LAB
    file.write_text("{")
    with pytest.raises(OperationError, match="state.json.*lab down"):
        state.load_lab()


def test_only_the_owner_reaches_the_sockets(own_directory: Path) -> None:
    (own_directory / "run").mkdir(mode=0o755)  # as earlier versions made it
    made = node.socket_directory(LAB.node("node1"))
    assert made == LAB.node("node1").socket.parent
    assert made.is_dir()
    assert (own_directory / "run").stat().st_mode & 0o777 == 0o700


def test_two_directories_have_names_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(paths.VARIABLE)
    names = {(paths.prefix(), paths.context_name())}
    assert names == {("obl", "openbalena-lab")}
    for name in ("a", "b"):
        monkeypatch.setenv(paths.VARIABLE, str(tmp_path / name))
        names.add((paths.prefix(), paths.context_name()))
        assert len(f"{paths.prefix()}-host") <= 15  # IFNAMSIZ less its zero byte
    assert len(names) == 3


def test_without_a_lab_the_message_says_how_to_start_one() -> None:
    with pytest.raises(OperationError, match=r"run \./open-balena.sh lab up"):
        endpoint()


def test_with_no_manager_alive_the_message_says_so() -> None:
    state.save(LAB)
    with pytest.raises(OperationError, match="no manager of the lab is running"):
        endpoint()


def test_lab_up_without_root_says_so() -> None:
    if os.geteuid() == 0:
        code = "import os; from openbalena.lab.lifecycle import up; os.setuid(65534); up()"
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "lab up must run as root" in result.stderr
    else:
        with pytest.raises(OperationError, match="must run as root"):
            up()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("tar: write error: No space left on device", "no space left for"),
        ("E: Failed getting release file http://…", "cannot reach"),
        ("W: strange\nE: very strange", ": W: strange / E: very strange (full log: "),
    ],
)
def test_a_failed_root_is_explained(tmp_path: Path, said: str, expected: str) -> None:
    log = tmp_path / "node.log"
    log.write_text(said + "\n")
    assert expected in roots.explain(tmp_path / "roots-node", log)


def test_a_failing_command_is_quoted_with_what_it_said() -> None:
    with pytest.raises(OperationError, match="`sh -c echo no >&2; exit 3` failed with exit code 3: no"):
        host.run_program(["sh", "-c", "echo no >&2; exit 3"])
    with pytest.raises(OperationError, match="did not finish within"):
        host.run_program(["sleep", "5"], timeout=0.1)


def test_a_lock_excludes_and_survives_being_deleted(tmp_path: Path) -> None:
    path, order = tmp_path / "locks" / "lab", list[str]()

    def second() -> None:
        with host.locked(path, "lab up"):
            order.append("second")

    with host.locked(path, "lab down"):
        waiting = threading.Thread(target=second)
        waiting.start()
        time.sleep(0.3)
        path.unlink()  # as lab down --purge does
        order.append("first")
    waiting.join(5)
    assert order == ["first", "second"]
    assert path.exists()


def test_a_lock_on_a_file_deleted_meanwhile_is_taken_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, real, calls = tmp_path / "lab", fcntl.flock, list[int]()

    def flock(stream: IO[str], operation: int) -> None:
        if not calls:
            path.unlink()  # by the holder before, after this process opened the file
        calls.append(operation)
        real(stream, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with host.locked(path, "lab up"):
        assert path.exists()
    assert len(calls) == 2


@pytest.mark.parametrize("words", [["create", "--bundle", "{}", "id"], ["exec", "--process", "{}/config.json", "id"]])
def test_runc_is_not_asked_for_what_it_cannot_give(tmp_path: Path, words: list[str]) -> None:
    wanted = {"bounding": ["CAP_SYS_RESOURCE", "CAP_SYS_ADMIN"], "effective": ["CAP_CHOWN", "CAP_SYS_RESOURCE"]}
    alone = {"permitted": ["CAP_SYS_RESOURCE"]}
    config = tmp_path / "config.json"
    config.write_text(json.dumps({**wanted, **alone}, separators=(",", ":")))
    script = capabilities.runc_without(["CAP_SYS_RESOURCE"]).replace("/usr/sbin/runc", "echo")
    said = subprocess.run(
        ["sh", "-c", script, "runc", *(word.format(tmp_path) for word in words)], capture_output=True, text=True
    )
    assert said.stdout.split()[0] == words[0]
    assert json.loads(config.read_text()) == {
        "bounding": ["CAP_SYS_ADMIN"],
        "effective": ["CAP_CHOWN"],
        "permitted": [],
    }


@pytest.mark.skipif(os.geteuid() != 0, reason="making roots needs root")
def test_nobody_else_gets_at_the_programs_of_a_root(own_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They have setuid programs, and no updates; those of a lab that was made before are closed too."""
    monkeypatch.setattr(roots, "_make", lambda root, *_: root.mkdir())
    for _ in range(2):
        made = roots.build_root("nodes", "bookworm", ["openssl"])
        assert made.parent == own_directory / "roots" and made.parent.stat().st_mode & 0o777 == 0o700
        made.parent.chmod(0o755)


def test_a_lab_without_faults_is_stored_as_earlier_versions_read_it(own_directory: Path) -> None:
    """They knew no node that was added, none that was cut off, and refuse what they do not know."""
    state.save(state.numbered("198.18.4.0/24", "/root", 2, 1))
    stored = json.loads((own_directory / "state.json").read_text())
    assert stored == {"subnet": "198.18.4.0/24", "root": "/root", "managers": 2, "workers": 1}
    faulty = state.Lab("198.18.4.0/24", "/root", (1, 3), (), (("node1", "node3"),))
    state.save(faulty)
    assert state.load_lab() == faulty
