"""What identifies a finding, the order of findings, dismissed ones, and what a task on a node reports."""

import socket
import subprocess
import time
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import debian
import pytest

from openbalena.doctor.facts import Interface, OverlayPath
from openbalena.doctor.findings import DoctorFinding, Severity, split_dismissed, worst_first
from openbalena.doctor.node_script import node_script, parse_report
from openbalena.doctor.overlay_script import overlay_script, parse_overlay

FOUND = DoctorFinding("disk", Severity.WARNING, "node1", "nearly full", "enlarge it", "12% free")
REPORT = ["now 1000", "kernel 6.1.0", "disk 100 40", "memory 8", "available 2", "cgroup 2", "module ip_vs"]


def test_a_finding_is_the_same_until_it_changes() -> None:
    assert replace(FOUND, measured="11% free", remedy="other words").id == FOUND.id
    for changed in ({"severity": Severity.ERROR}, {"subject": "node2"}, {"detail": "full"}, {"check": "memory"}):
        assert replace(FOUND, **changed).id != FOUND.id


def test_errors_come_first() -> None:
    note, error = replace(FOUND, severity=Severity.NOTE), replace(FOUND, severity=Severity.ERROR)
    other = replace(FOUND, subject="a")
    assert worst_first([note, FOUND, other, error]) == [error, other, FOUND, note]


def test_dismissed_findings_are_apart() -> None:
    other = replace(FOUND, subject="node2")
    assert split_dismissed([FOUND, other], {other.id: "known", "gone-1": "x"}) == ([FOUND], [other])
    assert FOUND.record("why")["dismissed"] == "why" and FOUND.record()["id"] == FOUND.id


def test_the_report_of_a_node() -> None:
    found = parse_report(REPORT, 999.5, 1002.0)
    assert (found.disk_size, found.disk_free) == (102400, 40960)
    assert (found.memory, found.memory_available, found.cgroup, found.kernel) == (8192, 2048, 2, "6.1.0")
    assert found.modules == {"ip_vs"}


@pytest.mark.parametrize(
    ("began", "ended", "clock"), [(999, 1001, 0), (1001, 1002, 0), (1011, 1012, -10), (980, 990, 10)]
)
def test_the_clock_is_compared_with_when_the_task_ran(began: float, ended: float, clock: float) -> None:
    assert parse_report(REPORT, began, ended).clock == clock


@pytest.mark.parametrize("missing", ["now", "disk", "memory", "available", "cgroup", "kernel"])
def test_an_incomplete_report_is_refused(missing: str) -> None:
    lines = [line for line in REPORT if not line.startswith(missing)]
    with pytest.raises(ValueError, match=f"it reported no '{missing}'"):
        parse_report(lines, 999, 1001)


def test_interfaces_routes_and_ports_of_a_node() -> None:
    more = ["store containerd", "interface eth0 1500 virtio_net", "interface wg0 1420", "route eth0 00000000 00000000"]
    more += ["route eth0 0000090A 00FFFFFF", "reached 10.9.0.1 7946", "refused 10.9.0.2 2377"]
    found = parse_report([*REPORT, *more], 999, 1001)
    assert found.store == "containerd"
    assert found.interfaces == (Interface("eth0", 1500, "virtio_net"), Interface("wg0", 1420))
    assert found.routes == ((ip_network("10.9.0.0/24"), "eth0"),)
    assert found.reached == {("10.9.0.1", 7946)} and found.refused == {("10.9.0.2", 2377)}
    assert found.interface_to("10.9.0.7") == found.interfaces[0] and found.interface_to("10.8.0.1") is None


@pytest.mark.parametrize(
    ("file", "text", "found"),
    [
        ("docker/daemon.json", '{"debug": true,\n  "firewall-backend": "nftables"}', "/etc/docker/daemon.json"),
        ("docker/daemon.json", '{"firewall-backend":"nftables"}', "/etc/docker/daemon.json"),
        ("docker/daemon.json", '{"firewall-backend": "iptables", "x": "nftables"}', ""),
        ("docker/other.json", '{"firewall-backend": "nftables"}', ""),
        ("systemd/system/docker.service.d/own.conf", "ExecStart=dockerd --firewall-backend nftables -H fd://",
         "/etc/systemd/system/docker.service.d"),
        ("default/docker", "DOCKER_OPTS=--firewall-backend=nftables", "/etc/default/docker"),
        ("default/docker", "# DOCKER_OPTS=--firewall-backend=nftables", ""),
    ],
)  # fmt: skip
@pytest.mark.parametrize("busybox", [False, True])
def test_options_of_the_engine_are_read_from_its_files(
    busybox: bool, file: str, text: str, found: str, tmp_path: Path
) -> None:
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(text)
    shell = [str(debian.program("busybox-static", "usr/bin/busybox")), "sh"] if busybox else ["sh"]
    script = [*shell, "-c", f"ulimit -n 512\netc={tmp_path}\n{node_script([])}"]
    began = time.time()
    done = subprocess.run(script, capture_output=True, text=True, check=True, timeout=60)
    facts = parse_report(done.stdout.splitlines(), began, time.time())
    assert (facts.nftables, facts.files) == (found, 512)


@pytest.mark.parametrize(
    ("line", "files"), [("files 512", 512), ("files unlimited", None), ("files", None), ("", None)]
)
def test_the_limit_of_open_files(line: str, files: int | None) -> None:
    assert parse_report([*REPORT, line], 999, 1001).files == files


def test_a_shell_runs_the_script() -> None:
    began = time.time()
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and does not listen
        ports = [("127.0.0.1", each.getsockname()[1]) for each in (server, closed)]
        script = ["sh", "-c", node_script(ports)]
        done = subprocess.run(script, capture_output=True, text=True, check=True, timeout=60)
    found = parse_report(done.stdout.splitlines(), began, time.time())
    assert found.clock == 0 and 0 < found.disk_free < found.disk_size and 0 < found.memory_available <= found.memory
    assert found.reached == {ports[0]} and found.refused == {ports[1]}


def test_a_shell_runs_the_script_of_an_overlay_task() -> None:
    script = ["sh", "-c", overlay_script("no-such-job", 0, ["no-such-service"])]
    done = subprocess.run(script, capture_output=True, text=True, check=True, timeout=60)
    found = parse_overlay(done.stdout.splitlines())
    assert found.mtu > 0 and found.answers == {"no-such-service": frozenset()} and not found.paths


def test_the_report_of_an_overlay_task() -> None:
    lines = ["mtu 1450", "peers 10.0.1.2 10.0.1.3", "answer api 10.0.1.5", "answer db", "job ended?"]
    found = parse_overlay([*lines, "path 10.0.1.2 yes no unknown"])
    assert found.mtu == 1450 and found.peers == {"10.0.1.2", "10.0.1.3"}
    assert found.answers == {"api": {"10.0.1.5"}, "db": frozenset()}
    assert found.paths == {"10.0.1.2": OverlayPath(small=True, large=False, tcp=None)}
    with pytest.raises(ValueError, match="it reported no 'mtu'"):
        parse_overlay(lines[1:])
