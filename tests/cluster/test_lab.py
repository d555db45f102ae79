"""The lab: it stands, loses a node and gets it back, and leaves nothing behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openbalena.lab import Endpoint, paths

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
SOURCE = Path(__file__).parents[2] / "src"


class OwnLab:
    """A lab below a directory of its own, driven as a user does, beside whatever other lab runs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = {**os.environ, paths.VARIABLE: str(directory), "PYTHONPATH": str(SOURCE)}
        for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
            self.environment.pop(name, None)

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "openbalena", "lab", *words]

    def run(self, *words: str, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            self.command(*words), capture_output=True, text=True, timeout=600, env={**self.environment, **variables}
        )
        assert result.returncode == code, result.stdout + result.stderr
        return result

    def status(self) -> dict[str, dict[str, Any]]:
        return {node["name"]: node for node in json.loads(self.run("status", "--json").stdout)["nodes"]}

    def docker(self, node: str, *words: str, **options: Any) -> str:
        host = f"unix://{self.directory / 'run' / node / 'docker.sock'}"
        return subprocess.run(
            [self.directory / "bin" / "docker", "--host", host, *words],
            capture_output=True, timeout=60, check=True, env=self.environment, **options,
        ).stdout.decode()  # fmt: skip


@pytest.fixture(scope="module")
def roots(lab: Endpoint) -> Path:
    """The cache of the session's lab: its root need not be made again for each lab of this module."""
    return paths.directory() / "roots"


@pytest.fixture
def own_lab(roots: Path) -> Iterator[OwnLab]:
    """A lab that is down, with the root in its cache; whatever is left of it is taken away at the end."""
    directory = Path(tempfile.mkdtemp(prefix=f"{paths.directory().name}-", dir=paths.directory().parent))
    own = OwnLab(directory)
    subprocess.run(["cp", "--archive", "--link", roots, directory], check=True)
    yield own
    own.run("down", "--purge")
    assert not directory.exists()


def wait(what: str, condition: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"in {seconds} s not {what}"
        time.sleep(0.5)


def machine() -> dict[str, set[str]]:
    """What a lab could leave behind on this machine."""

    def lines(*command: str) -> set[str]:
        program = shutil.which(command[0])
        if program is None:
            return set()
        return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines())

    processes = {
        f"{entry.name} {(entry / 'comm').read_text().strip()}"
        for entry in Path("/proc").glob("[0-9]*")
        if (entry / "comm").exists()
    }
    groups = {str(path) for path in Path("/sys/fs/cgroup").glob("**/obl*")}
    here = paths.directory().parent
    return {
        "links": {line.split(":")[1] for line in lines("ip", "-oneline", "link")},
        "addresses": lines("ip", "-oneline", "-4", "address", "show", "scope", "global"),
        "routes": lines("ip", "route"),
        "namespaces": {path.name for path in Path("/run/netns").glob("*")},
        "mounts": set(Path("/proc/mounts").read_text().splitlines()),
        "cgroups": groups,
        "processes": {
            process for process in processes if any(name in process for name in ("docker", "contain", "runc"))
        },
        "iptables": lines("iptables-save") | lines("nft", "list", "ruleset"),
        "packages": lines("dpkg-query", "--show"),
        "apt": {f"{path} {path.stat().st_mtime_ns}" for path in Path("/var/lib/apt/lists").glob("*")}
        | {f"{path} {path.stat().st_mtime_ns}" for path in Path("/etc/apt").glob("**/*")},
        "files": {str(path) for path in (*here.iterdir(), *Path("/run").iterdir(), *Path("/var/run").iterdir())},
        "contexts": {str(path) for path in Path.home().glob(".docker/**/*")},
    }


def test_three_managers_form_one_swarm(lab: Endpoint) -> None:
    assert [node.name for node in lab.nodes][:3] == ["node1", "node2", "node3"]
    for node in lab.nodes:
        said = subprocess.run(
            [lab.cli, "--host", f"unix://{node.socket}", "node", "ls", "--format", "{{.Status}} {{.ManagerStatus}}"],
            capture_output=True, text=True, check=True, timeout=60,
        ).stdout.split("\n")  # fmt: skip
        assert sorted(said) == ["", "Ready Leader", "Ready Reachable", "Ready Reachable"]


def test_a_node_is_killed_and_comes_back_with_its_data(own_lab: OwnLab) -> None:
    own_lab.run("up")
    assert [node["ingress"] for node in own_lab.status().values()] == [True, True, False]
    own_lab.docker("node1", "volume", "create", "kept")
    assert own_lab.run("kill", "node1").stdout.startswith("node1 is down")
    assert own_lab.run("status").stdout.count(" down ") >= 1
    wait("seen as down", lambda: own_lab.status()["node1"]["swarm"] == "down")
    assert not own_lab.status()["node1"]["running"]
    # The context points to a manager that is alive, so docker goes on without a word.
    wait("a new leader", lambda: any(node["manager"] == "leader" for node in own_lab.status().values()))
    context = json.loads(own_lab.run("status", "--json").stdout)["context"]
    command = [own_lab.directory / "bin" / "docker", "--context", context, "info", "--format", "{{.Name}}"]
    said = subprocess.run(command, capture_output=True, text=True, env=own_lab.environment, check=True)
    assert said.stdout.strip() in ("node2", "node3")

    own_lab.run("start", "node1")
    wait("ready again", lambda: own_lab.status()["node1"]["swarm"] == "ready")
    assert "kept" in own_lab.docker("node1", "volume", "ls", "--quiet")


def test_up_on_a_running_lab_repairs_only_what_is_missing(own_lab: OwnLab) -> None:
    own_lab.run("up", "--managers", "1", "--workers", "1")
    first = own_lab.docker("node1", "info", "--format", "{{.Swarm.Cluster.ID}}")
    own_lab.run("kill", "node2")
    repaired = own_lab.run("up")
    assert "starting 1 Docker Engines: node2" in repaired.stderr
    assert "starting" not in own_lab.run("up").stderr
    assert own_lab.docker("node1", "info", "--format", "{{.Swarm.Cluster.ID}}") == first
    assert {name: node["swarm"] for name, node in own_lab.status().items()} == {"node1": "ready", "node2": "ready"}
    assert "run ./open-balena.sh lab down first" in own_lab.run("up", "--managers", "3", code=2).stderr


def test_shell_runs_a_command_on_the_node(own_lab: OwnLab) -> None:
    own_lab.run("up", "--managers", "1")
    assert own_lab.run("shell", "node1", "hostname").stdout == "node1\n"
    own_lab.run("shell", "node1", "sh", "-c", "exit 7", code=7)
    assert own_lab.run("shell", "node1", "docker", "info", "--format", "{{.Name}}").stdout == "node1\n"
    assert "has no node node4" in own_lab.run("shell", "node4", code=1).stderr


def test_a_container_starts_with_the_capabilities_balena_asks_for(own_lab: OwnLab) -> None:
    own_lab.run("up", "--managers", "1")
    root = next((own_lab.directory / "roots").glob("node-*"))
    with subprocess.Popen(
        ["tar", "-C", root, "-c", "usr/bin", "usr/lib/x86_64-linux-gnu", "usr/lib64", "bin", "lib", "lib64"],
        stdout=subprocess.PIPE,
    ) as archive:
        own_lab.docker("node1", "import", "-", "some", stdin=archive.stdout)
    options = ["--rm", "--cap-add", "SYS_ADMIN", "--cap-add", "SYS_RESOURCE", "--cap-add", "NET_ADMIN"]
    own_lab.docker("node1", "run", *options, "--name", "c", "--detach", "some", "sleep", "60")
    assert own_lab.docker("node1", "exec", "c", "sh", "-c", "echo here") == "here\n"
    effective = own_lab.docker("node1", "exec", "c", "grep", "CapEff", "/proc/self/status").split()[1]
    for number in (12, 21):  # CAP_NET_ADMIN, CAP_SYS_ADMIN in linux/capability.h
        assert int(effective, 16) >> number & 1
    start = time.monotonic()
    own_lab.docker("node1", "exec", "c", "sh", "-c", "getent hosts no-such-name.example.com || true")
    assert time.monotonic() - start < 2


def test_nothing_is_left_but_the_cache_and_then_nothing_at_all(own_lab: OwnLab) -> None:
    before = machine()
    own_lab.run("up")
    assert machine() != before
    own_lab.run("down")
    assert sorted(path.name for path in own_lab.directory.iterdir()) == ["locks", "roots"]
    assert machine() == before
    own_lab.run("up")
    own_lab.run("kill", "node2")
    own_lab.run("down", "--purge")
    before["files"].discard(str(own_lab.directory))
    assert machine() == before


@pytest.mark.parametrize("seconds", [0.4, 0.8, 1.5, 2.5])
def test_a_killed_up_can_be_repeated_and_taken_down(own_lab: OwnLab, seconds: float) -> None:
    before = machine()
    with subprocess.Popen(own_lab.command("up"), env=own_lab.environment, stderr=subprocess.DEVNULL) as process:
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
    own_lab.run("up")
    assert {node["swarm"] for node in own_lab.status().values()} == {"ready"}
    with subprocess.Popen(own_lab.command("down"), env=own_lab.environment, stderr=subprocess.DEVNULL) as process:
        time.sleep(seconds / 4)
        process.send_signal(signal.SIGKILL)
    own_lab.run("down")
    assert machine() == before


def test_two_ups_at_once_make_one_lab(own_lab: OwnLab) -> None:
    both = [subprocess.Popen(own_lab.command("up"), env=own_lab.environment) for _ in range(2)]
    assert [process.wait(300) for process in both] == [0, 0]
    assert len(own_lab.status()) == 3


def test_a_full_disk_is_named_and_nothing_stays(roots: Path, tmp_path: Path) -> None:
    before = machine()
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", small], check=True)
    try:
        own = OwnLab(small)
        said = own.run("up", code=1).stderr
        assert "No space left" in said
        assert str(small) in said
        assert "Traceback" not in said
        own.run("down", "--purge")
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", small], check=True)
    assert machine() == before


def test_an_unreachable_package_source_is_named(tmp_path: Path) -> None:
    own = OwnLab(tmp_path / "lab")
    said = own.run("up", code=1, http_proxy="http://127.0.0.1:9").stderr
    assert "deb.debian.org" in said
    assert "check this machine's network" in said
    own.run("down", "--purge")
    assert not own.directory.exists()
