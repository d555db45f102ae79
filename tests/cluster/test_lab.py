"""The lab: it stands, loses a node and gets it back, and leaves nothing behind."""

import json
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from node_disk import give_disks
from own_lab import OwnLab, cached_roots, lab_with_root
from waiting import BOUND, eventually

from openbalena.lab import Endpoint, network, paths
from openbalena.lab.endpoint import accepts

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def roots(lab: Endpoint) -> Path:
    return cached_roots()


@pytest.fixture
def own_lab(roots: Path) -> Iterator[OwnLab]:
    """A lab of the test's own."""
    with lab_with_root(roots) as own:
        yield own


def import_image(own_lab: OwnLab) -> None:
    """Make the image `some` on node1 from a part of the node's own root."""
    root = next((own_lab.directory / "roots").glob("node-*"))
    parts = ["usr/bin", "usr/lib/x86_64-linux-gnu", "usr/lib64", "bin", "lib", "lib64"]
    with subprocess.Popen(["tar", "-C", root, "-c", *parts], stdout=subprocess.PIPE) as archive:
        own_lab.docker("node1", "import", "-", "some", stdin=archive.stdout)


def disks() -> str:
    """The files that are loop devices of this machine."""
    return subprocess.check_output(["losetup", "--list", "--noheadings", "--output", "BACK-FILE"], text=True)


def machine(own: Path) -> dict[str, set[str]]:
    """What the lab in `own` could leave behind on this machine; other labs may come and go meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(paths.VARIABLE, str(own))
        prefix = paths.prefix()
    other = re.compile(rf"\bobl(?!{prefix[3:]}-)[0-9a-f]*-")

    def lines(*command: str) -> set[str]:
        program = shutil.which(command[0])
        said = "" if program is None else subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return {re.sub(r"^\d+: ", "", line) for line in said.splitlines() if not other.search(line)}

    apt = [*Path("/var/lib/apt").glob("**/*"), *Path("/etc/apt").glob("**/*")]
    files = [path for top in ("/run", "/var/lib", "/etc") for path in Path(top).iterdir()]
    return {
        "links": {line.split(":")[0] for line in lines("ip", "-oneline", "link")},
        "addresses": lines("ip", "-oneline", "-4", "address", "show", "scope", "global"),
        "routes": lines("ip", "route"),
        "namespaces": {path.name for path in Path("/run/netns").glob(f"{prefix}-*")},
        "mounts": lines("cat", "/proc/mounts"),
        "cgroups": {str(path) for path in Path("/sys/fs/cgroup").glob(f"**/{prefix}")},
        "processes": {entry.name for entry in Path("/proc").glob("[0-9]*") if runs_in(entry, str(own))},
        "iptables": lines("iptables-save") | lines("nft", "list", "ruleset"),
        "packages": lines("dpkg-query", "--show"),
        "apt": {f"{path} {path.stat().st_mtime_ns}" for path in apt},
        "files": {str(path) for path in files if "lab" not in path.name},
        "contexts": {text for text in map(Path.read_text, Path.home().glob(".docker/**/*.json")) if str(own) in text},
    }


def runs_in(process: Path, directory: str) -> bool:
    """Whether the process has the directory on its command line or among its mounts, as a node's processes do."""
    try:
        return directory in (process / "cmdline").read_text() + (process / "mountinfo").read_text()
    except (OSError, UnicodeDecodeError):
        return False


def test_three_managers_form_one_swarm(lab: Endpoint) -> None:
    assert [node.name for node in lab.nodes][:3] == ["node1", "node2", "node3"]
    for node in lab.nodes:
        said = subprocess.run(
            [lab.cli, "--host", f"unix://{node.socket}", "node", "ls", "--format", "{{.Status}} {{.ManagerStatus}}"],
            capture_output=True, text=True, check=True, timeout=60,
        ).stdout.split("\n")  # fmt: skip
        assert sorted(said) == ["", "Ready Leader", "Ready Reachable", "Ready Reachable"]


def test_only_root_may_talk_to_the_engines(lab: Endpoint) -> None:
    for node in lab.nodes:
        socket = node.socket.stat()
        assert (socket.st_uid, socket.st_gid) == (0, 0)
        assert node.socket.parent.parent.stat().st_mode & 0o777 == 0o700


def test_a_node_is_killed_and_comes_back_with_its_data(own_lab: OwnLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(paths.VARIABLE, str(own_lab.directory))
    give_disks("node1")
    own_lab.run("up")
    assert "/dev/loop" in own_lab.run("shell", "node1", "df", "/var/lib/docker").stdout
    assert [node["ingress"] for node in own_lab.status().values()] == [True, True, False]
    own_lab.docker("node1", "volume", "create", "kept")
    assert own_lab.run("kill", "node1").stdout.startswith("node1 is down")
    assert not accepts(own_lab.directory / "run" / "node1" / "docker.sock")
    assert own_lab.run("status").stdout.count(" down ") >= 1
    eventually("node1 seen as down", lambda: own_lab.status()["node1"]["swarm"] == "down")
    assert not own_lab.status()["node1"]["running"]
    # The context points to a manager that is alive, so docker goes on without a word.
    eventually("a new leader", lambda: any(node["manager"] == "leader" for node in own_lab.status().values()))
    context = json.loads(own_lab.run("status", "--json").stdout)["context"]
    docker = own_lab.directory / "bin" / "docker"

    def said(*words: str) -> str:
        done = subprocess.run([docker, *words], capture_output=True, text=True, env=own_lab.environment, timeout=BOUND)
        return done.stdout.strip()

    # It was pointed right after node1 was killed, which must not have been taken for alive.
    assert "/node2/" in said("context", "inspect", context, "--format", "{{.Endpoints.docker.Host}}")
    # Right after the election one call failed, once: which manager answers is what counts, not how soon.
    eventually(
        "an answer by the context", lambda: said("--context", context, "info", "--format", "{{.Name}}") == "node2"
    )

    own_lab.run("start", "node1")
    assert own_lab.status()["node1"]["swarm"] == "ready", "start waits until the node is back in the swarm"
    assert "kept" in own_lab.docker("node1", "volume", "ls", "--quiet")
    assert str(own_lab.directory) in disks()
    own_lab.run("down")
    assert str(own_lab.directory) not in disks()


def test_up_on_a_running_lab_repairs_only_what_is_missing(own_lab: OwnLab) -> None:
    own_lab.run("up", "--managers", "1", "--workers", "1")
    first = own_lab.docker("node1", "info", "--format", "{{.Swarm.Cluster.ID}}")
    own_lab.run("kill", "node2")
    repaired = own_lab.run("up")
    assert "starting 1 Docker Engines: node2" in repaired.stderr
    assert "starting" not in own_lab.run("up").stderr
    assert own_lab.docker("node1", "info", "--format", "{{.Swarm.Cluster.ID}}") == first
    assert {name: node["swarm"] for name, node in own_lab.status().items()} == {"node1": "ready", "node2": "ready"}
    own_lab.docker("node2", "swarm", "leave")
    assert own_lab.status()["node2"]["swarm"] == "left", "whatever the manager still believes"
    assert "joining node2" in own_lab.run("up").stderr
    assert own_lab.status()["node2"]["swarm"] == "ready"
    refused = own_lab.run("up", "--managers", "3", code=2).stderr
    assert (
        f"{paths.VARIABLE}={own_lab.directory} " in refused
        and "open-balena.sh lab down before starting another" in refused
    )


def test_nodes_are_cut_off_slowed_down_and_healed(own_lab: OwnLab) -> None:
    """What a swarm makes of it is tested with one that has services."""
    own_lab.run("up")
    table = own_lab.run("partition", "node1").stdout
    assert re.search(r"^node1 .* cut off from node2, node3$", table, re.MULTILINE)
    assert re.search(r"^node2 .* cut off from node1$", table, re.MULTILINE)

    def leader(node: dict[str, Any]) -> bool:
        return bool(node["manager"] == "leader" and node["name"] != "node1")

    eventually("a leader among the others", lambda: any(map(leader, own_lab.status().values())))
    assert [node["cut_from"] for node in own_lab.status().values()] == [["node2", "node3"], ["node1"], ["node1"]]
    own_lab.run("heal", "node1")
    assert re.search(r"^node3 .* tbf rate 1mbit ", own_lab.run("slow", "node3", "--rate", "1mbit").stdout, re.MULTILINE)
    own_lab.run("partition", "node3", "--from", "node2")
    assert [node["cut_from"] for node in own_lab.status().values()] == [[], ["node3"], ["node2"]]
    own_lab.run("up")
    assert not any(node["cut_from"] or node["slow"] for node in own_lab.status().values())
    assert "no node node4 in the lab" in own_lab.run("partition", "node4", code=1).stderr


def test_nodes_are_added_to_a_running_lab_and_removed_for_good(own_lab: OwnLab) -> None:
    own_lab.run("up", "--managers", "1")
    assert re.search(r"^node2 .* ready  -  ", own_lab.run("add").stdout, re.MULTILINE)
    own_lab.docker("node2", "volume", "create", "kept")
    own_lab.run("remove", "node2")
    assert [*own_lab.status()] == ["node1"]
    assert "node2" in own_lab.docker("node1", "node", "ls"), "the swarm is not told"
    assert re.search(r"^node2 .* ready .* reachable ", own_lab.run("add", "--manager").stdout, re.MULTILINE)
    assert own_lab.docker("node2", "volume", "ls", "--quiet") == ""
    assert own_lab.docker("node1", "node", "ls").count("node2") == 2
    assert re.search(r"^node3 .* none ", own_lab.run("add", "node3", "--no-join").stdout, re.MULTILINE)
    assert "joining node3" in own_lab.run("up").stderr
    assert own_lab.status()["node3"]["swarm"] == "ready"


def test_shell_runs_a_command_on_the_node(own_lab: OwnLab) -> None:
    own_lab.run("up", "--managers", "1")
    assert own_lab.run("shell", "node1", "hostname").stdout == "node1\n"
    own_lab.run("shell", "node1", "sh", "-c", "exit 7", code=7)
    assert own_lab.run("shell", "node1", "docker", "info", "--format", "{{.Name}}").stdout == "node1\n"
    assert "no node node4 in the lab" in own_lab.run("shell", "node4", code=1).stderr


def test_a_container_starts_with_the_capabilities_balena_asks_for(own_lab: OwnLab) -> None:
    own_lab.run("up", "--managers", "1")
    import_image(own_lab)
    options = ["--rm", "--cap-add", "SYS_ADMIN", "--cap-add", "SYS_RESOURCE", "--cap-add", "NET_ADMIN"]
    own_lab.docker("node1", "run", *options, "--name", "capable", "--detach", "some", "sleep", "60")
    assert own_lab.docker("node1", "exec", "capable", "sh", "-c", "echo here") == "here\n"
    effective = own_lab.docker("node1", "exec", "capable", "grep", "CapEff", "/proc/self/status").split()[1]
    for number in (12, 21):  # CAP_NET_ADMIN, CAP_SYS_ADMIN in linux/capability.h
        assert int(effective, 16) >> number & 1
    start = time.monotonic()
    own_lab.docker("node1", "exec", "capable", "sh", "-c", "getent hosts no-such-name.example.com || true")
    # A name server that does not answer costs 5 s at least (resolv.conf(5), timeout).
    assert time.monotonic() - start < 5


def test_nothing_is_left_but_the_cache_and_then_nothing_at_all(own_lab: OwnLab) -> None:
    before = machine(own_lab.directory)
    own_lab.run("up")
    import_image(own_lab)
    own_lab.docker("node1", "run", "--detach", "some", "sleep", "600")
    during = machine(own_lab.directory)
    for what in ("links", "addresses", "routes", "namespaces", "mounts", "cgroups", "processes", "contexts"):
        assert during[what] > before[what]
    own_lab.run("down")
    assert sorted(path.name for path in own_lab.directory.iterdir()) == ["locks", "roots"]
    assert machine(own_lab.directory) == before
    own_lab.run("up")
    own_lab.run("kill", "node2")
    own_lab.run("down", "--purge")
    assert not own_lab.directory.exists()
    assert machine(own_lab.directory) == before


@pytest.mark.parametrize("seconds", [0.4, 0.8, 1.5, 2.5])
def test_a_killed_up_can_be_repeated_and_taken_down(own_lab: OwnLab, seconds: float) -> None:
    before = machine(own_lab.directory)
    with subprocess.Popen(own_lab.command("up"), env=own_lab.environment, stderr=subprocess.DEVNULL) as process:
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
    own_lab.run("up")
    assert {node["swarm"] for node in own_lab.status().values()} == {"ready"}
    with subprocess.Popen(own_lab.command("down"), env=own_lab.environment, stderr=subprocess.DEVNULL) as process:
        time.sleep(seconds / 4)
        process.send_signal(signal.SIGKILL)
    own_lab.run("down")
    assert machine(own_lab.directory) == before


@pytest.mark.parametrize("seconds", [1.5, 12])
def test_a_killed_first_up_leaves_nothing_that_purge_does_not_find(tmp_path: Path, seconds: float) -> None:
    """Killed while it fetches debootstrap, and while it makes the root."""
    own = OwnLab(tmp_path / "lab")
    before = machine(own.directory)
    with subprocess.Popen(own.command("up"), env=own.environment, stderr=subprocess.DEVNULL) as process:
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
    own.run("down", "--purge")
    assert not own.directory.exists()
    eventually("debootstrap's processes ended", lambda: machine(own.directory) == before)


def test_two_ups_at_once_make_one_lab(own_lab: OwnLab) -> None:
    both = [subprocess.Popen(own_lab.command("up"), env=own_lab.environment) for _ in range(2)]
    assert [process.wait(300) for process in both] == [0, 0]
    assert len(own_lab.status()) == 3


def test_a_docker_engine_on_the_machine_is_left_alone_and_does_no_harm(own_lab: OwnLab, roots: Path) -> None:
    """The machine is played by a node: its network has Docker's rules and bridges, and drops what is forwarded."""
    own_lab.run("up", "--managers", "1")
    rules = own_lab.run("shell", "node1", "iptables", "-S").stdout
    assert "-P FORWARD DROP" in rules
    with pytest.MonkeyPatch.context() as patch, lab_with_root(roots) as inner:
        patch.setenv(paths.VARIABLE, str(own_lab.directory))
        there = ["nsenter", f"--net={network.namespace('node1')}", "unshare", "--mount", "sh", "-ec"]
        words = ['mount -t tmpfs tmpfs /run/netns; trap \'"$@" down\' EXIT; "$@" up', "sh", *inner.command()]
        result = subprocess.run([*there, *words], capture_output=True, text=True, timeout=300, env=inner.environment)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count(" ready ") == 3
    assert own_lab.run("shell", "node1", "iptables", "-S").stdout == rules
    assert own_lab.status()["node1"]["swarm"] == "ready"


def test_a_full_disk_is_named_and_nothing_stays(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    before = machine(small)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", small], check=True)
    try:
        own = OwnLab(small)
        said = own.run("up", code=1).stderr
        assert "no space left" in said
        assert str(small) in said
        assert "Traceback" not in said
        own.run("down", "--purge")
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", small], check=True)
    assert machine(small) == before


def test_an_unreachable_package_source_is_named(tmp_path: Path) -> None:
    own = OwnLab(tmp_path / "lab")
    said = own.run("up", code=1, http_proxy="http://127.0.0.1:9").stderr
    assert "deb.debian.org" in said
    assert "check this machine's network" in said
    own.run("down", "--purge")
    assert not own.directory.exists()
