"""What the script on a machine prints, and what is decided from that."""

import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cluster_builders import cluster, node
from hearing import Listener

from openbalena import settings
from openbalena.base.errors import OperationError
from openbalena.base.project import Project
from openbalena.doctor.facts import NodeFacts
from openbalena.operations.install_engine import install_engine, offered_version
from openbalena.operations.join_checks import Candidate, HostReport, join_findings, parse_host, probe_script
from openbalena.settings import Settings
from openbalena.storage.record import VolumeLocation, VolumeRegistry
from openbalena.storage.rejoined import previous_volumes
from openbalena.swarm import job

FACTS = NodeFacts(100 * 2**30, 60 * 2**30, 8 * 2**30, 4 * 2**30, 0.0, "6.1.0", 2)
GOOD = HostReport(
    root=True, docker=True, system=("debian",), silent=(), esp=job.JobResult(True, ()), facts=FACTS, lines=("looked",)
)
INFO: dict[str, Any] = {"Name": "node4", "ServerVersion": "28.5.2", "Architecture": "x86_64"}
CLUSTER = cluster([], [], [node(1, address="10.1.1.1"), node(2, address="10.1.1.2")])


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return settings.read(Project(directory=tmp_path_factory.mktemp("project")))


def test_the_script_runs_on_this_machine() -> None:
    began = time.time()
    # The second port is of no program: the first node is this machine, where nothing needs to listen either.
    script = probe_script(
        cluster([], [], [node(1, address="127.0.0.1"), node(2, state="down", address="x")]), "manager"
    )
    done = subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, timeout=60, check=True)
    report = parse_host(done.stdout.splitlines(), began, time.time())
    assert report.facts is not None and report.facts.memory > 0 and abs(report.facts.clock) < 5
    assert report.silent is not None and {address for address, _ in report.silent} <= {"127.0.0.1"}
    assert report.system and "looked" in report.lines


@pytest.mark.parametrize("driver", ["nftables", "nftables+firewalld"])
def test_an_engine_that_uses_nftables_cannot_join(driver: str, values: Settings) -> None:
    candidate = Candidate("root@node4", GOOD, {**INFO, "FirewallBackend": {"Driver": driver}}, "worker")
    (found,) = join_findings(candidate, CLUSTER, values, "false")
    assert found.fatal and str(found).startswith("its Docker Engine uses nftables, with which it cannot be in a swarm")
    candidate = replace(candidate, info={**INFO, "FirewallBackend": {"Driver": "iptables"}})
    assert not join_findings(candidate, CLUSTER, values, "false")


def program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def probed() -> list[str]:
    script = probe_script(cluster([], [], []), "")
    return subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, timeout=60).stdout.splitlines()


def test_a_module_that_docker_will_load_is_not_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a swarm does not use it yet."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found = []
    for code in (1, 0):
        program(tmp_path / "modprobe", f'[ "$*" = "--dry-run --quiet ip_vs" ] || exit 2\nexit {code}')
        lines = probed()
        found.append(lines.count("module ip_vs"))
    assert found[1] == found[0] + 1
    report = parse_host(lines, time.time(), time.time())
    assert report.facts is not None and report.facts.modules == {"ip_vs"}


@pytest.mark.parametrize(("running", "asked"), [("echo /disk/docker", "/disk/docker"), ("exit 1", "/")])
def test_the_disk_is_that_of_dockers_data(
    running: str, asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    program(tmp_path / "docker", running)
    program(tmp_path / "df", f'[ "$*" = "-Pk {asked}" ] && echo "disk 1000 1 7 1% {asked}"')
    report = parse_host(probed(), time.time(), time.time())
    assert report.facts is not None and report.facts.disk_free == 7 * 1024


def test_what_is_read() -> None:
    lines = ["host-user 1000", "host-system ubuntu debian", "host-esp 3 no such algorithm"]
    facts = ["now 1", "kernel 6.1.0", "disk 100 40", "memory 8", "available 4", "cgroup 2"]
    # None was reached, which says nothing of a node, but of this one.
    facts += ["refused 10.1.1.2 7946", "refused 10.1.1.1 2377"]
    report = parse_host([*lines, "host-tries", *facts], 1.0, 2.0)
    assert (report.root, report.docker, report.system) == (False, False, ("ubuntu", "debian"))
    assert report.silent == (("10.1.1.1", 2377), ("10.1.1.2", 7946))
    assert report.esp == job.JobResult(False, ("no such algorithm",), exit_code=3)
    assert report.facts is not None
    for unknown in ([*lines, *facts], [*lines, "host-tries"]):
        assert parse_host(unknown, 1.0, 2.0).silent is None


@pytest.mark.parametrize(
    ("report", "info", "fatal", "text"),
    [
        ({}, {}, None, ""),
        ({}, {"Name": "node2"}, True, "its hostname is node2"),
        ({}, {"ServerVersion": "24.0.7"}, True, "Docker Engine 24.0.7 is older than 25: update Docker there"),
        ({}, {"ServerVersion": "29.0.1"}, False, "the engines have different major versions"),
        ({}, {"Architecture": "aarch64"}, False, "it is aarch64 and this manager x86_64"),
        ({"silent": (("10.1.1.2", 7946),)}, {}, True, "it cannot connect to 7946/tcp of node2 (10.1.1.2)"),
        ({"silent": None}, {}, False, "it could not be checked whether it can connect to the other nodes (needs bash"),
        ({"facts": None}, {}, False, "its clock, disk, memory and kernel could not be checked"),
        ({"facts": replace(FACTS, clock=-90.0)}, {}, True, "its clock differs from that of this machine (-90 s)"),
        ({"facts": replace(FACTS, clock=8.0)}, {}, False, "its clock differs"),
        ({"facts": replace(FACTS, disk_free=2**30)}, {}, True, "the disk with Docker's data is nearly full"),
        ({"facts": replace(FACTS, cgroup=1)}, {}, False, "it uses cgroup v1"),
        ({"esp": job.JobResult(False, ("no",), exit_code=3)}, {}, True, "node node4 has no ESP"),
        ({"esp": job.JobResult(False, ("no ip",), exit_code=4)}, {}, None, ""),
        ({"lines": ("taken tcp 1F0A", "looked")}, {}, True, "port 7946/tcp of Docker Swarm is in use on node node4"),
        ({"lines": ("taken tcp 0949", "looked")}, {}, None, ""),
    ],
)
def test_what_speaks_against_a_machine(
    report: dict[str, Any], info: dict[str, Any], fatal: bool | None, text: str, values: Settings
) -> None:
    candidate = Candidate("root@node4", replace(GOOD, **report), {**INFO, **info}, "worker")
    found = join_findings(candidate, CLUSTER, values, "true")
    if fatal is None:
        assert found == []
        return
    (finding,) = found
    assert str(finding).startswith(text) and finding.fatal is fatal


def test_only_a_manager_needs_its_port_and_only_encryption_its_module(values: Settings) -> None:
    report = replace(GOOD, lines=("taken tcp 0949", "looked"), esp=job.JobResult(False, (), exit_code=3))
    (finding,) = join_findings(Candidate("x", report, INFO, "manager"), CLUSTER, values, "false")
    assert str(finding).startswith("port 2377/tcp of Docker Swarm is in use on node node4")


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("docker.io:\n  Installed: (none)\n  Candidate: 26.1.5+dfsg1-9\n", "26.1.5"),
        ("docker.io:\n  Installed: (none)\n  Candidate: 1:20.10.24-1\n", "20.10.24"),
        ("docker.io:\n  Installed: (none)\n  Candidate: (none)\n", ""),
        ("end\n", ""),
    ],
)
def test_the_version_that_would_be_installed(policy: str, expected: str) -> None:
    assert offered_version(policy) == expected


@pytest.mark.parametrize(
    ("report", "text"),
    [
        (replace(GOOD, system=("fedora",)), "x: --install-engine knows Debian and Ubuntu, and this is fedora: install"),
        (replace(GOOD, system=()), "x: --install-engine knows Debian and Ubuntu, and this is neither: install"),
        (replace(GOOD, root=False), "x: only root can install Docker Engine"),
    ],
)
def test_an_engine_is_not_installed_everywhere(report: HostReport, text: str) -> None:
    with pytest.raises(OperationError) as refused:
        install_engine("x", "ssh://x", report, Listener())
    assert str(refused.value).startswith(text)


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ({"db-data": VolumeLocation("n8", "node4")}, ["db-data"]),
        (
            {"db-data": VolumeLocation("gone", "node4"), "s3-data": VolumeLocation("n8", "node4")},
            ["db-data", "s3-data"],
        ),
        ({"db-data": VolumeLocation("n4", "node4")}, []),
        ({"db-data": VolumeLocation("n1", "node1")}, []),
        ({"db-data": VolumeLocation("n2", "node4")}, []),
        ({}, []),
    ],
)
def test_the_volumes_of_a_previous_membership(places: dict[str, VolumeLocation], expected: list[str]) -> None:
    previous = replace(node(8, state="down"), hostname="node4")
    found = cluster([], [], [node(1), node(2), node(4), previous])
    assert previous_volumes(node(4), found, VolumeRegistry(places)) == expected
