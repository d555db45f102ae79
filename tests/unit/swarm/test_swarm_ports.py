"""Ports that another program has: whom to ask, what the node's shell finds, and what its answer means."""

import shutil
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cluster_builders import cluster, node, service, task
from fake_engine import FakeEngine

from openbalena.base.errors import OperationError
from openbalena.swarm import job
from openbalena.swarm.job import JobResult
from openbalena.swarm.ports import Question, check_ports, port_findings, port_questions, script
from openbalena.swarm.state import Cluster, PublishedPort, SwarmService, Task

HTTPS = PublishedPort(443, 443, mode="host")
INGRESS = ("node.labels.openbalena.ingress == true",)
LABELLED = {"openbalena.ingress": "true"}
HAPROXY = service("haproxy", replicas=None, constraints=INGRESS, ports=(PublishedPort(80, 80, mode="host"), HTTPS))
NODES = [node(1, labels=LABELLED), node(2, labels=LABELLED), node(3)]
MESH = service("haproxy", replicas=None, constraints=INGRESS, ports=(PublishedPort(443, 443),))
ONE_OF_THEM = service("front", replicas=1, ports=(PublishedPort(8088, 80, mode="host"),))
FIRST = {"n1": "80/tcp, 443/tcp", "n2": "80/tcp, 443/tcp"}


def on(*nodes: str, of: str = "haproxy", **fields: str) -> list[Task]:
    return [task(number, of, node_id=name, **fields) for number, name in enumerate(nodes)]


@pytest.mark.parametrize(
    ("planned", "there", "asked"),
    [
        # A first deploy.
        (HAPROXY, cluster([], [], NODES), FIRST),
        # An ordinary one; tasks that wait for their health check, or are being stopped, have the port too.
        (HAPROXY, cluster([HAPROXY], on("n1", "n2"), NODES), {}),
        (HAPROXY, cluster([HAPROXY], on("n1", "n2", state="starting"), NODES), {}),
        (HAPROXY, cluster([HAPROXY], on("n1", "n2", desired="shutdown"), NODES), {}),
        # A node got the label; a task failed, perhaps because of the port.
        (HAPROXY, cluster([HAPROXY], on("n1"), NODES), {"n2": FIRST["n2"]}),
        (HAPROXY, cluster([HAPROXY], [*on("n1"), *on("n2", state="failed")], NODES), {"n2": FIRST["n2"]}),
        # A changed port alone is asked for.
        (
            service(
                "haproxy",
                replicas=None,
                constraints=INGRESS,
                ports=(HTTPS, PublishedPort(1936, 1936, mode="host")),
            ),
            cluster([HAPROXY], on("n1", "n2"), NODES),
            {"n1": "1936/tcp", "n2": "1936/tcp"},
        ),
        (
            service("dns", replicas=None, ports=(PublishedPort(443, 53, "udp", "host"),)),
            cluster([HAPROXY], on("n1", "n2"), NODES[:1]),
            {"n1": "443/udp"},
        ),
        # Another service of the stack has it now.
        (service("front", replicas=None, constraints=INGRESS, ports=(HTTPS,)),
         cluster([HAPROXY], on("n1", "n2"), NODES), {}),
        # The mesh listens on every node.
        (MESH, cluster([], [], NODES), {"n1": "443/tcp", "n2": "443/tcp", "n3": "443/tcp"}),
        (MESH, cluster([MESH], [], NODES), {}),
        # As many tasks as it shall have: no other node gets one.
        (ONE_OF_THEM, cluster([ONE_OF_THEM], on("n2", of="front"), NODES), {}),
        (ONE_OF_THEM, cluster([ONE_OF_THEM], [], NODES), dict.fromkeys(("n1", "n2", "n3"), "8088/tcp")),
        # A node that gets no task, and a port that Docker chooses.
        (HAPROXY, cluster([], [], [NODES[0], node(2, labels=LABELLED, availability="drain")]), {"n1": FIRST["n1"]}),
        (service("front", ports=(PublishedPort(0, 80, mode="host"),)), cluster([], [], NODES), {}),
    ],
)  # fmt: skip
def test_only_ports_that_the_stack_does_not_hold_are_asked_for(
    planned: SwarmService, there: Cluster, asked: dict[str, str]
) -> None:
    assert {question.node.id: question.named for question in port_questions([planned], there)} == asked


def test_a_node_is_asked_once_for_all_services() -> None:
    dns = service(
        "dns", replicas=None, constraints=INGRESS, image="dns:1", ports=(PublishedPort(53, 53, "udp", "host"),)
    )
    (asked,) = port_questions([HAPROXY, dns], cluster([], [], NODES[:1]))
    assert asked.ports == {("tcp", 80): "haproxy", ("tcp", 443): "haproxy", ("udp", 53): "dns"}


HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
REST = "00000000:00000000 00:00000000 00000000     0        0 12345 1 0000000000000000 100 0 0 10 0\n"
LISTENS, CONNECTED, UDP = "0A", "01", "07"


def line(number: int, local: str, state: str, remote: str = "00000000:0000") -> str:
    return f"{number:4}: {local} {remote} {state} {REST}"


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"tcp": line(0, "00000000:01BB", LISTENS)}, ["taken tcp 01BB"]),
        ({"tcp": line(0, "0100007F:01BB", LISTENS)}, ["taken tcp 01BB"]),
        ({"tcp": "", "tcp6": line(7, f"{'0' * 32}:0050", LISTENS, f"{'0' * 32}:0000")}, ["taken tcp 0050"]),
        ({"tcp": line(10000, "00000000:01BB", LISTENS)}, ["taken tcp 01BB"]),
        # A client's own port, a connection to the port elsewhere, one that ends, and other ports.
        ({"tcp": line(0, "0200000A:01BB", CONNECTED, "0300000A:D431")}, []),
        ({"tcp": line(0, "0200000A:D431", CONNECTED, "0300000A:01BB")}, []),
        ({"tcp": line(0, "00000000:01BB", "06") + line(1, "00000000:1BB0", LISTENS)}, []),
        ({"tcp": line(0, "00000000:0016", LISTENS)}, []),
        ({"tcp": "", "udp": line(0, "00000000:0035", UDP)}, ["taken udp 0035"]),
        ({"tcp": "", "udp": line(0, "00000000:01BB", UDP)}, []),
        ({"tcp": "", "udp": "", "tcp6": "", "udp6": ""}, []),
    ],
)
def test_the_script_finds_who_waits_for_connections(files: dict[str, str], found: list[str], tmp_path: Path) -> None:
    for name, text in {"tcp": "", "udp": "", **files}.items():
        (tmp_path / name).write_text(HEAD + text)
    done = run(script([("tcp", 443), ("tcp", 80), ("udp", 53)], str(tmp_path)))
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (0, [*(found or [""]), "looked"], "")


@pytest.mark.parametrize("absent", ["tcp", "udp", "."])
def test_what_cannot_be_read_is_no_free_port(absent: str, tmp_path: Path) -> None:
    for name in ("tcp", "udp"):
        (tmp_path / name).write_text(HEAD)
    shutil.rmtree(tmp_path) if absent == "." else (tmp_path / absent).unlink()
    assert run(script([("tcp", 443), ("udp", 53)], str(tmp_path))).returncode


def test_without_grep_nothing_is_found_free(tmp_path: Path) -> None:
    (tmp_path / "tcp").write_text(HEAD)
    assert run(script([("tcp", 443)], str(tmp_path)), path="/nonexistent").returncode


def test_a_port_that_is_let_go_is_free(tmp_path: Path) -> None:
    (tmp_path / "tcp").write_text(HEAD + line(0, "00000000:01BB", LISTENS))
    emptied = script([("tcp", 443)], str(tmp_path)).replace("sleep 2", f"grep sl {tmp_path}/tcp >{tmp_path}/new; "
                                                           f"cp {tmp_path}/new {tmp_path}/tcp")  # fmt: skip
    done = run(emptied)
    assert (done.returncode, done.stdout) == (0, "\nlooked\n")


def test_this_machine_s_own_sockets_are_found() -> None:
    with socket.socket() as listener, socket.socket() as idle:
        for each in (listener, idle):
            each.bind(("127.0.0.1", 0))
        listener.listen()
        held, other = listener.getsockname()[1], idle.getsockname()[1]
        done = run(script([("tcp", held), ("tcp", other)]))
    assert done.stdout == f"taken tcp {held:04X}\nlooked\n", done


def run(text: str, path: str = "") -> "subprocess.CompletedProcess[str]":
    """As the job does it: in a subshell, by sh."""
    return subprocess.run(
        ["/bin/sh", "-c", f"( {text.replace('sleep 2', 'sleep 0.01')}\n)\ncode=$?\nexit $code"],
        capture_output=True, text=True, check=False, timeout=30, env={"PATH": path} if path else None,
    )  # fmt: skip


def test_a_port_in_use_is_looked_for_three_times_in_four_seconds() -> None:
    text = script([("tcp", 443)])
    assert "[ $tries -lt 3 ]" in text and "sleep 2\n" in text and "tries=1\n" in text


def test_a_service_that_has_more_tasks_than_it_shall_have_gets_none() -> None:
    tasks = on("n1", "n2", of="front")
    assert port_questions([ONE_OF_THEM], cluster([ONE_OF_THEM], tasks, NODES)) == []


@pytest.mark.parametrize(("protocol", "asked"), [("sctp", True), ("tcp", False), ("udp", True)])
def test_a_port_of_the_stack_is_that_of_one_protocol(protocol: str, *, asked: bool) -> None:
    there = service("front", replicas=None, ports=(PublishedPort(443, 80, protocol, "host"),))
    found = cluster([there], on("n1", of="front"), NODES[:1])
    assert bool(port_questions([service("haproxy", replicas=None, ports=(HTTPS,))], found)) is asked


def test_questions_are_sorted_by_node_and_have_the_first_service_s_image() -> None:
    first = service("a", image="a:1", constraints=("node.hostname == node3",), ports=(HTTPS,))
    second = service("b", image="b:1", replicas=None, ports=(PublishedPort(80, 80, mode="host"), PublishedPort(0, 1)))
    found = port_questions([first, second], cluster([], [], NODES))
    assert [(each.node.id, each.image, each.named) for each in found] == [
        ("n1", "b:1", "80/tcp"),
        ("n2", "b:1", "80/tcp"),
        ("n3", "a:1", "80/tcp, 443/tcp"),
    ]


ASKED = Question(node(2), "haproxy:1", {("tcp", 80): "haproxy", ("tcp", 443): "haproxy"})


@pytest.mark.parametrize(
    ("outcome", "fatal", "said"),
    [
        (JobResult(True, ("", "looked")), [], ""),
        (JobResult(True, ("taken tcp 01BB", "looked")), [True], "port 443/tcp of haproxy is in use on node node2"),
        (
            JobResult(True, ("taken tcp 0050", "taken tcp 01BB", "taken tcp 01BB", "looked")),
            [True, True],
            "port 80/tcp of haproxy",
        ),
        (JobResult(True, ("taken udp 01BB", "WARNING: no swap limit", "looked")), [], ""),
        (
            JobResult(False, ("taken tcp 01BB",), "exit (4)", 4),
            [False],
            "port 80/tcp, 443/tcp could not be checked",
        ),
        # A log that has not come, or not whole.
        (JobResult(True, ()), [False], "could not be checked"),
        (JobResult(True, ("taken tcp 01BB",)), [False], "could not be checked"),
        (JobResult(False, (), "No such image: haproxy:1", started=False), [False], "No such image"),
    ],
)
def test_a_port_that_is_taken_stops_the_deploy_and_an_answer_that_fails_does_not(
    outcome: JobResult, fatal: list[bool], said: str
) -> None:
    found = list(port_findings(ASKED, outcome))
    assert [finding.fatal for finding in found] == fatal
    assert said in "".join(str(finding) for finding in found)


def test_a_swarm_that_takes_no_task_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> list[JobResult]:
        raise OperationError("network host not found")

    monkeypatch.setattr(job, "run_job", refuse)
    other = Question(node(1), "haproxy:1", {("tcp", 22): "ssh"})
    found = check_ports(None, None, [ASKED, other])  # type: ignore[arg-type]
    assert [(each.fatal, str(each)) for each in found] == [
        (False, "node node2: port 80/tcp, 443/tcp could not be checked: network host not found"),
        (False, "node node1: port 22/tcp could not be checked: network host not found"),
    ]


def test_each_node_is_checked_by_a_task_in_its_network(fake: FakeEngine) -> None:
    fake.swarm.node("node1", "manager")
    fake.swarm.node("node2")
    asked = [
        Question(replace(node(number), id=f"id-node{number}"), f"haproxy:{number}", {("tcp", 400 + number): "haproxy"})
        for number in (1, 2)
    ]
    fake.swarm.logs = {
        "openbalena-ports-id-node1": ["looked", "openbalena-job-end"],
        "openbalena-ports-id-node2": [f"taken tcp {402:04X}", "looked", "openbalena-job-end"],
    }
    with fake.engine.client() as client:
        (found,) = check_ports(fake.engine, client, asked)
    assert found.fatal and str(found).startswith("port 402/tcp of haproxy is in use on node node2")
    for number, spec in enumerate(fake.swarm.created, 1):
        template = spec["TaskTemplate"]
        assert template["ContainerSpec"]["Image"] == f"haproxy:{number}"
        assert f"{400 + number:04X}" in template["ContainerSpec"]["Args"][1]
        assert template["Networks"] == [{"Target": "host"}]
