"""Encrypted overlay networks: what they need of the nodes, and which of a running deployment's networks are encrypted.

Docker encrypts VXLAN with ESP in transport mode with AES-GCM, and matches packets with iptables' bpf and policy, or
with nftables (moby 28, libnetwork/drivers/overlay/encryption.go and bpf.go). If the rules cannot be added, no task
starts; if ESP is missing, tasks start but cannot reach each other: programSA only logs the error. So both are tested.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from openbalena.base.errors import OperationError
from openbalena.base.names import ENCRYPTION_NETWORK, JOB_LABEL
from openbalena.docker.engine import Engine
from openbalena.swarm import job, placement
from openbalena.swarm import nodes as swarm_nodes
from openbalena.swarm.preflight import Finding
from openbalena.swarm.state import Cluster, Node, SwarmService

# This service's image has ip(8): Debian's openvpn depends on iproute2 (open-balena-vpn, Dockerfile).
_WITH_TOOLS = "vpn"
# Seconds, including the pull of a missing image.
_TIMEOUT = 600.0
# Exit codes of check_script; the first: the kernel refused the state.
REFUSED, _NO_TOOL, _NO_RIGHT = 3, 4, 5
_REDEPLOY = "./open-balena.sh swarm-down, which keeps the volumes, and then swarm-up"
_MODULES = "esp4 esp6 xfrm_user xt_bpf xt_policy"


def state_command(address: str) -> list[str]:
    """The command that adds an ESP state like Docker's, for the family of a node's `address`; it needs NET_ADMIN.

    The state's addresses are those for documentation (RFC 5737, RFC 3849): no packet has them.
    """
    source, target = ("2001:db8::1", "2001:db8::2") if ":" in address else ("192.0.2.1", "192.0.2.2")
    key = "0x" + bytes(range(1, 21)).hex()  # 16 bytes and the salt of RFC 4106; not a secret
    state = ["proto", "esp", "spi", "0x1000", "mode", "transport", "aead", "rfc4106(gcm(aes))", key, "64"]
    return ["ip", "xfrm", "state", "add", "src", source, "dst", target, *state]


def check_script(address: str) -> str:
    """The shell script of a task that runs the command in its own network namespace; it prints the kernel's error.

    Busybox's ip has no xfrm, and its shell prefers that to the program of the same name.
    """
    return "\n".join(
        [
            "IFS=:",
            "for directory in $PATH; do",
            '    case $("$directory/ip" -Version 2>/dev/null) in *iproute2*) program=$directory/ip; break;; esac',
            "done",
            "unset IFS",
            f'[ -n "$program" ] || exit {_NO_TOOL}',
            f'output=$("$program" {shlex.join(state_command(address)[1:])} 2>&1) && exit 0',
            'echo "$output"',
            f'case $output in *"not permitted"*) exit {_NO_RIGHT};; esac',
            f"exit {REFUSED}",
        ]
    )


def running(networks: Mapping[str, bool]) -> str:
    """The SWARM_ENCRYPTED with which the deployment that has `networks` was created; "" if it has none.

    Docker cannot change a network (docker/cli, stack deploy: an existing one is left as it is), and one that is added
    later is created like the others, so that an update has no new requirements for the nodes.
    """
    if not networks:
        return ""
    return "true" if all(networks.values()) else "false"


def unencrypted_networks_warning(networks: Mapping[str, bool], setting: str) -> str:
    """A warning if the networks of the running deployment do not match SWARM_ENCRYPTED, else ""."""
    others = [name for name, encrypted in networks.items() if encrypted is not (setting == "true")]
    if not others:
        return ""
    actual = "unencrypted" if setting == "true" else "encrypted"
    return (
        f"SWARM_ENCRYPTED is {setting}, but these overlay networks of the running deployment are {actual}: "
        f"{', '.join(others)}. Docker cannot change a network: to recreate them, run {_REDEPLOY}"
    )


def described(networks: Mapping[str, bool], setting: str) -> list[str]:
    """A line with the encrypted `networks`, and one with the unencrypted ones and how to encrypt them."""
    lines = []
    if encrypted := [name for name, is_encrypted in networks.items() if is_encrypted]:
        lines.append(f"Overlay networks, encrypted between nodes: {', '.join(encrypted)}")
    if plain := [name for name, is_encrypted in networks.items() if not is_encrypted]:
        steps = _REDEPLOY if setting == "true" else f"set SWARM_ENCRYPTED=true and run {_REDEPLOY}"
        lines.append(f"Overlay networks, not encrypted between nodes: {', '.join(plain)} (to encrypt them, {steps})")
    return lines


def nodes_to_check(cluster: Cluster, setting: str, services: Iterable[SwarmService]) -> list[Node]:
    """The nodes to test before `services` are deployed with `setting`: those on which their tasks may be placed.

    None for unencrypted networks. If the networks exist, only nodes on which no task of the deployment is running.
    """
    if setting != "true":
        return []
    ours = {task.node_id for task in cluster.tasks if task.state == "running"} if cluster.networks else set()
    constraints = [service.constraints for service in services]
    others = [node for node in cluster.nodes if node.id not in ours]
    return [node for node in others if any(placement.satisfies(node, each) for each in constraints)]


def check_encryption(
    engine: Engine,
    client: Any,
    nodes: Sequence[Node],
    services: Iterable[SwarmService],
    report: Callable[[str], None],
) -> list[Finding]:
    """Test each of `nodes` with a task on an encrypted test network; the task's image is that of one of `services`.

    Raises OperationError if the network or a task cannot be created.
    """
    images = {service.short_name: service.image for service in services}
    image = images.get(_WITH_TOOLS) or next(iter(images.values()))
    with _network(engine, report):
        jobs = [
            job.Job(
                "encryption",
                node.id,
                image,
                check_script(node.address),
                networks=(ENCRYPTION_NETWORK,),
                capabilities=("NET_ADMIN",),
            )
            for node in nodes
            if node.usable
        ]
        outcomes = job.run_job(engine, client, jobs, _TIMEOUT)
    outcomes_by_node = {test.node: outcome for test, outcome in zip(jobs, outcomes, strict=True)}
    return [finding for node in nodes for finding in encryption_findings(node, outcomes_by_node.get(node.id), image)]


def encryption_findings(node: Node, outcome: job.JobResult | None, image: str) -> Iterator[Finding]:
    """The findings that follow from the result of a node's task; None if the node could not run one."""
    unchecked = f"node {node.hostname}: support for encrypted overlay networks could not be checked"
    if outcome is None:
        yield Finding(f"{unchecked}: it is {swarm_nodes.status_text(node)}", fatal=False)
    elif outcome.exit_code == REFUSED:
        yield Finding(
            f"node {node.hostname} has no ESP (IPsec) with AES-GCM in its kernel ({job.error_text(outcome)}), which "
            f"SWARM_ENCRYPTED=true needs: run `modprobe -a {_MODULES}` there and add them to "
            "/etc/modules-load.d/openbalena.conf; if the kernel has no such modules, set SWARM_ENCRYPTED=false"
        )
    elif outcome.exit_code == _NO_TOOL:
        yield Finding(
            f"{unchecked}: {image} has no `ip` command (iproute2): set SWARM_ENCRYPTED=false, or use openBalena's "
            "VPN image"
        )
    elif not outcome.ok:
        yield Finding(
            f"{unchecked}: {job.error_text(outcome)} (Docker needs the iptables matches bpf and policy: run "
            f"`modprobe -a {_MODULES}` there, or set SWARM_ENCRYPTED=false)"
        )


@contextmanager
def _network(engine: Engine, report: Callable[[str], None]) -> Iterator[None]:
    """An encrypted network for the jobs; an unused one that a killed run left is replaced."""
    with suppress(OperationError):
        engine.docker("network", "rm", ENCRYPTION_NETWORK)
    options = ("--driver", "overlay", "--opt", "encrypted", "--label", f"{JOB_LABEL}=encryption")
    engine.docker("network", "create", *options, ENCRYPTION_NETWORK)
    try:
        yield
    finally:
        # If the network is still in use after that, the next run replaces it.
        job.remove_network(engine, ENCRYPTION_NETWORK, report)
