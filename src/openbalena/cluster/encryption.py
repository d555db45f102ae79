"""What encrypted overlay networks ask of the nodes, and what a deployment that runs has of them.

Docker encrypts VXLAN by ESP in transport mode with AES-GCM, and matches packets by iptables' bpf and policy, or by
nftables (moby 28, libnetwork/drivers/overlay/encryption.go and bpf.go). Where the rules cannot be made, no task starts;
where ESP is missing, tasks start and never hear of each other: programSA only logs that. So both are tried.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from openbalena.cluster import job, placement
from openbalena.cluster import nodes as swarm_nodes
from openbalena.cluster.engine import Engine
from openbalena.cluster.preflight import Finding
from openbalena.cluster.state import Cluster, Node, Service
from openbalena.errors import OperationError

# Has ip(8), as any image with OpenVPN (open-balena-vpn, Dockerfile: Debian's openvpn depends on iproute2).
_WITH_TOOLS = "vpn"
_NETWORK = "openbalena-encryption"
# Seconds, with the pull of an image that is not there yet.
_TIMEOUT = 600.0
_REFUSED, _NO_TOOL, _NO_RIGHT = 3, 4, 5
_ANEW = "./open-balena.sh swarm-down, which keeps the volumes, and then swarm-up"
_MODULES = "esp4 esp6 xfrm_user xt_bpf xt_policy"


def state_command(address: str) -> list[str]:
    """The command that adds such an ESP state as Docker's, for the family of a node's `address`; it needs NET_ADMIN.

    The addresses are of RFC 5737 and RFC 3849: no packet ever has them.
    """
    source, target = ("2001:db8::1", "2001:db8::2") if ":" in address else ("192.0.2.1", "192.0.2.2")
    key = "0x" + bytes(range(1, 21)).hex()  # 16 bytes and the salt of RFC 4106; of no use to anyone
    state = ["proto", "esp", "spi", "0x1000", "mode", "transport", "aead", "rfc4106(gcm(aes))", key, "64"]
    return ["ip", "xfrm", "state", "add", "src", source, "dst", target, *state]


def script(address: str) -> str:
    """The shell script of a task that tries it in a network namespace of its own; prints what the kernel said.

    Busybox's own ip knows no xfrm, and its shell prefers that to a program of the name.
    """
    return "\n".join(
        [
            "IFS=:",
            "for directory in $PATH; do",
            '    case $("$directory/ip" -Version 2>/dev/null) in *iproute2*) found=$directory/ip; break;; esac',
            "done",
            "unset IFS",
            f'[ -n "$found" ] || exit {_NO_TOOL}',
            f'said=$("$found" {shlex.join(state_command(address)[1:])} 2>&1) && exit 0',
            'echo "$said"',
            f'case $said in *"not permitted"*) exit {_NO_RIGHT};; esac',
            f"exit {_REFUSED}",
        ]
    )


def running(networks: Mapping[str, bool]) -> str:
    """SWARM_ENCRYPTED as the deployment that has `networks` was made; "" where there is none.

    Docker cannot change a network (docker/cli, stack deploy: one that exists is left as it is), and one that is added
    later is made like the others, so that an update asks nothing new of the nodes.
    """
    if not networks:
        return ""
    return "true" if all(networks.values()) else "false"


def kept(networks: Mapping[str, bool], setting: str) -> str:
    """A sentence where the networks of the deployment that runs are not as SWARM_ENCRYPTED now says, else ""."""
    others = [name for name, encrypted in networks.items() if encrypted is not (setting == "true")]
    if not others:
        return ""
    found = "plain" if setting == "true" else "encrypted"
    return (
        f"SWARM_ENCRYPTED is {setting}, and of the deployment that runs these overlay networks are {found}: "
        f"{', '.join(others)}. Docker cannot change a network: they stay so until you run {_ANEW}"
    )


def described(networks: Mapping[str, bool], setting: str) -> list[str]:
    """A line for the encrypted and one for the plain ones of `networks`, which says how to change that."""
    lines = []
    if encrypted := [name for name, is_encrypted in networks.items() if is_encrypted]:
        lines.append(f"Overlay networks, encrypted between the nodes: {', '.join(encrypted)}")
    if plain := [name for name, is_encrypted in networks.items() if not is_encrypted]:
        steps = _ANEW if setting == "true" else f"set SWARM_ENCRYPTED=true and run {_ANEW}"
        lines.append(f"Overlay networks, plain between the nodes: {', '.join(plain)} (to encrypt them, {steps})")
    return lines


def asked(cluster: Cluster, setting: str, services: Iterable[Service]) -> list[Node]:
    """The nodes to try before `services` are deployed with `setting`: those that may be given a task of them.

    None for plain networks. Where the networks are there, only nodes on which no task of the deployment runs.
    """
    if setting != "true":
        return []
    ours = {task.node_id for task in cluster.tasks if task.state == "running"} if cluster.networks else set()
    constraints = [service.constraints for service in services]
    others = [node for node in cluster.nodes if node.id not in ours]
    return [node for node in others if any(placement.allows(node, wanted) for wanted in constraints)]


def check(engine: Engine, client: Any, nodes: Sequence[Node], services: Iterable[Service]) -> list[Finding]:
    """Try each of `nodes` by a task on an encrypted network of its own. Raises OperationError where none can be made.

    The task's image is that of one of `services`.
    """
    images = {service.short_name: service.image for service in services}
    image = images.get(_WITH_TOOLS) or next(iter(images.values()))
    with _network(engine, client):
        jobs = [
            job.Job(
                "encryption",
                node.id,
                image,
                script(node.address),
                networks=(_NETWORK,),
                capabilities=("NET_ADMIN",),
            )
            for node in nodes
            if node.usable
        ]
        outcomes = job.run(engine, client, jobs, _TIMEOUT)
    answers = {asked.node: outcome for asked, outcome in zip(jobs, outcomes, strict=True)}
    return [finding for node in nodes for finding in judged(node, answers.get(node.id), image)]


def judged(node: Node, outcome: job.Outcome | None, image: str) -> Iterator[Finding]:
    """What a node's task said; None where it could be given none."""
    unsure = f"node {node.hostname}: whether its kernel can encrypt overlay networks could not be checked"
    if outcome is None:
        yield Finding(f"{unsure}: it is {swarm_nodes.described(node)}", fatal=False)
    elif outcome.exit_code == _REFUSED:
        yield Finding(
            f"node {node.hostname} has no ESP (IPsec) with AES-GCM in its kernel ({job.failure(outcome)}), which "
            f"SWARM_ENCRYPTED=true needs: run `modprobe -a {_MODULES}` there and name them in "
            "/etc/modules-load.d/openbalena.conf; without such modules set SWARM_ENCRYPTED=false"
        )
    elif outcome.exit_code == _NO_TOOL:
        yield Finding(
            f"{unsure}: {image} has no ip of iproute2; set SWARM_ENCRYPTED=false, or take openBalena's image of the VPN"
        )
    elif not outcome.ok:
        yield Finding(
            f"{unsure}: {job.failure(outcome)} (Docker's rules need iptables' matches bpf and policy: `modprobe -a "
            f"{_MODULES}` there; or set SWARM_ENCRYPTED=false)"
        )


@contextmanager
def _network(engine: Engine, client: Any) -> Iterator[None]:
    """An encrypted network for the jobs; one that a killed run left, and no task uses, is replaced."""
    with suppress(OperationError):
        engine.docker("network", "rm", _NETWORK)
    made = ("--driver", "overlay", "--opt", "encrypted", "--label", f"{job.LABEL}=encryption")
    engine.docker("network", "create", *made, _NETWORK)
    try:
        yield
    finally:
        # If the network is still in use after that, the next run replaces it.
        job.remove_network(engine, _NETWORK)
