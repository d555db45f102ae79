"""What a machine must have before it joins the swarm: read by one script over ssh, decided from that."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from openbalena.base.errors import UsageError
from openbalena.base.names import DATA_LABEL
from openbalena.docker import ssh
from openbalena.doctor.checks import clock, disk, engines, firewall, kernel, memory
from openbalena.doctor.facts import Facts, NodeFacts
from openbalena.doctor.findings import Severity
from openbalena.doctor.node_script import node_script, parse_report
from openbalena.operations.doctor_nodes import node_endpoints
from openbalena.settings import Settings
from openbalena.storage.record import VolumeRegistry
from openbalena.swarm import encryption, job, placement, ports
from openbalena.swarm.membership import GOSSIP_PORT, MANAGER_PORT
from openbalena.swarm.preflight import Finding
from openbalena.swarm.state import Cluster, Node

# Seconds for the script, most of which is the wait for ports that do not answer.
_TIMEOUT = 90.0
# Of the checks of doctor, those that are about one node.
_CHECKS = (clock, disk, engines, firewall, kernel, memory)


@dataclass(frozen=True)
class HostReport:
    """`root`: whether the user over ssh is root. `docker`: whether there is a docker command line. `system` has the
    names of the distribution and of those it is derived from (os-release(5)). `silent` are addresses and ports that did
    not answer, None if that could not be tried. `esp` is what encryption.check_script gave there. `facts` are doctor's.
    """

    root: bool
    docker: bool
    system: tuple[str, ...]
    silent: tuple[tuple[str, int], ...] | None
    esp: job.JobResult
    facts: NodeFacts | None
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Candidate:
    """A machine that is to join, as its engine's `info` and the script describe it."""

    host: str
    report: HostReport
    info: Mapping[str, Any]
    role: str

    @property
    def node(self) -> Node:
        """The node that it would be; its id is empty."""
        return Node(
            id="",
            hostname=str(self.info["Name"]),
            role=self.role,
            engine_version=str(self.info["ServerVersion"]),
            architecture=str(self.info.get("Architecture", "")),
        )


def read_host(url: str, cluster: Cluster, role: str) -> HostReport:
    """Run the script on the machine. Raises OperationError as ssh.run_script does."""
    began = time.time()
    lines = tuple(ssh.run_script(url, probe_script(cluster, role), _TIMEOUT).splitlines())
    return parse_host(lines, began, time.time())


def probe_script(cluster: Cluster, role: str) -> str:
    """The script; `cluster` has the nodes whose ports it tries."""
    address = next((node.address for node in cluster.nodes if node.address), "")
    lines = [
        'echo "host-user $(id -u)"',
        '( . /etc/os-release 2>/dev/null; echo "host-system $ID $ID_LIKE" )',
        "if command -v docker >/dev/null; then echo host-docker; fi",
        # In a separate network namespace, which ends with it.
        f'text=$(unshare --net sh -c {shlex.quote(encryption.check_script(address))} 2>&1); echo "host-esp $?" $text',
        "docker_data=$(docker info --format '{{.DockerRootDir}}' 2>/dev/null)",
        # Docker loads it when the swarm first needs it (moby/ipvs, netlink.go).
        "( PATH=$PATH:/usr/sbin:/sbin; modprobe --dry-run --quiet ip_vs >/dev/null 2>&1 ) && echo module ip_vs",
        # With these doctor's script tries ports. Unlike a node it may well reach none.
        "if { command -v timeout && command -v bash || command -v nc; } >/dev/null; then echo host-tries; fi",
        f"(\n{ports.script(_own_ports(role))}\n)",
        "etc=/etc",
        f"(\n{node_script(node_endpoints(cluster))}\n)",
    ]
    return "\n".join(lines) + "\n"


def _own_ports(role: str) -> dict[tuple[str, int], str]:
    """What the engine will listen on once it has joined."""
    own = {(protocol, GOSSIP_PORT): "Docker Swarm" for protocol in ("tcp", "udp")}
    return {**own, ("tcp", MANAGER_PORT): "Docker Swarm"} if role == "manager" else own


def parse_host(lines: Sequence[str], began: float, ended: float) -> HostReport:
    """What the script printed; it ran between `began` and `ended` (seconds since 1970, of this machine)."""
    words = [line.split() for line in lines]
    values = {found[0]: found[1:] for found in words if found}
    code, *text = values.get("host-esp", ["0"])
    try:
        facts = parse_report([line for line in lines if not line.startswith("host-")], began, ended)
    except ValueError:
        facts = None
    return HostReport(
        root=values.get("host-user") == ["0"],
        docker="host-docker" in values,
        system=tuple(values.get("host-system", ())),
        silent=tuple(sorted(facts.refused)) if facts and "host-tries" in values else None,
        esp=job.JobResult(code == "0", (" ".join(text),), exit_code=int(code)),
        facts=facts,
        lines=tuple(lines),
    )


def join_findings(candidate: Candidate, cluster: Cluster, settings: Settings, encrypted: str) -> list[Finding]:
    """Everything that speaks against joining, fatal findings first. `encrypted` is the SWARM_ENCRYPTED of the stack."""
    found = [
        *_hostname(candidate, cluster),
        *_reachability(candidate, cluster),
        *_architecture(candidate, cluster),
        *_firewall(candidate),
        *_health(candidate, cluster, settings),
    ]
    node, report = candidate.node, candidate.report
    found += ports.port_findings(
        ports.Question(node, "", _own_ports(candidate.role)), job.JobResult(True, report.lines)
    )
    # What else may go wrong there, such as a missing program, does not concern the engine.
    if encrypted == "true" and report.esp.exit_code == encryption.REFUSED:
        found += encryption.encryption_findings(node, report.esp, "")
    return sorted(found, key=lambda finding: not finding.fatal)


def require_free_labels(labels: Iterable[str], known: VolumeRegistry, cluster: Cluster, node: Node | None) -> None:
    """Raise UsageError for a data label whose volume is on a different node than `node`."""
    here = node.id if node else ""
    for label in labels:
        if not label.startswith(DATA_LABEL):
            continue
        volume = label.removeprefix(DATA_LABEL)
        holders = {each.id for each in placement.nodes_with_label(cluster.nodes, label)}
        holders |= {known.places[volume].node} if volume in known.places else set()
        if others := holders - {here}:
            raise UsageError(
                f"--label {label}: the data of {volume} is on {', '.join(map(cluster.hostname, sorted(others)))}: join "
                f"without it, then run ./open-balena.sh storage move {volume} NODE (lost data: storage forget {volume})"
            )


def _hostname(candidate: Candidate, cluster: Cluster) -> Iterator[Finding]:
    name = candidate.node.hostname
    if any(node.hostname == name and not node.lost for node in cluster.nodes):
        yield Finding(
            f"its hostname is {name}, as that of another node, which is up: change it (`hostnamectl hostname`)"
        )


def _reachability(candidate: Candidate, cluster: Cluster) -> Iterator[Finding]:
    names = {node.address: node.hostname for node in cluster.nodes}
    silent = candidate.report.silent
    if silent is None:
        what = "it could not be checked whether it can connect to the other nodes (needs bash and timeout, or nc)"
        yield Finding(what, fatal=False)
    for address, port in silent or ():
        yield Finding(
            f"it cannot connect to {port}/tcp of {names.get(address, address)} ({address}): open {MANAGER_PORT}/tcp of "
            f"the managers, and {GOSSIP_PORT}/tcp and udp and the overlay network's UDP port between all nodes"
        )


def _architecture(candidate: Candidate, cluster: Cluster) -> Iterator[Finding]:
    here, there = cluster.node(cluster.this_node), candidate.node.architecture
    if here and there and here.architecture and here.architecture != there:
        yield Finding(
            f"it is {there} and this manager {here.architecture}: images built here do not run on it", fatal=False
        )


def _firewall(candidate: Candidate) -> Iterator[Finding]:
    """What its engine uses now; what its next start will use is doctor's to find (Engine API v1.52, SystemInfo)."""
    backend = candidate.info.get("FirewallBackend") or {}
    if str(backend.get("Driver", "")).startswith("nftables"):
        yield Finding(
            "its Docker Engine uses nftables, with which it cannot be in a swarm",
            "remove the option firewall-backend from /etc/docker/daemon.json or dockerd's arguments and restart Docker "
            "there",
        )


def _health(candidate: Candidate, cluster: Cluster, settings: Settings) -> Iterator[Finding]:
    """What doctor would find on it."""
    if candidate.report.facts is None:
        yield Finding("its clock, disk, memory and kernel could not be checked", fatal=False)
        return
    node = candidate.node
    facts = Facts(
        settings=settings,
        cluster=replace(cluster, nodes=(*cluster.nodes, node)),
        nodes={node.id: candidate.report.facts},
    )
    for each in (finding for check in _CHECKS for finding in check.check(facts)):
        if each.subject in (node.hostname, "swarm"):
            what = f"{each.detail}{f' ({each.measured})' if each.measured else ''}"
            yield Finding(what, each.remedy, fatal=each.severity is Severity.ERROR)
