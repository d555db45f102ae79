"""Whether the HAProxies and the VPN's tasks have room for the connections of all devices."""

from __future__ import annotations

from collections.abc import Iterator

from openbalena.doctor.facts import Facts
from openbalena.doctor.findings import DoctorFinding, Severity
from openbalena.swarm.preflight import candidates
from openbalena.swarm.service_update import find_service

# images/haproxy/haproxy.cfg, for each ingress node.
MAXCONN = 8192
# Two files for each connection, and some for listeners, checks and itself. HAProxy tries to set that limit, and ends if
# it may not (HAProxy 2.6: "Cannot raise FD limit").
FILES = 2 * MAXCONN + 200
# open-balena-vpn 12.3, config/confd/templates/haproxy.cfg.tmpl: VPN_HAPROXY_MAXCONN, for each task.
VPN_MAXCONN = 10000
# Connections that a device holds all the time: one of the VPN, and one for its logs, which HAProxy counts twice, since
# port 443 hands TLS on to itself.
HELD = 3


def check(facts: Facts) -> Iterator[DoctorFinding]:
    """An error if VPN connections of all devices do not fit; a warning if they do not without one node or task, or with
    the devices' logs. An error for a node on which HAProxy may not open enough files.
    """
    haproxy, vpn = (find_service(facts.cluster, name) for name in ("haproxy", "vpn"))
    fronts = candidates(haproxy, facts.cluster) if haproxy else []
    for node in fronts:
        found = facts.nodes.get(node.id)
        if found and found.files is not None and found.files < FILES:
            yield DoctorFinding(
                "maxconn",
                Severity.ERROR,
                node.hostname,
                f"a container may open {found.files} files there, and haproxy needs {FILES}, so that it does not start",
                "raise LimitNOFILE of Docker there, or nofile of default-ulimits in /etc/docker/daemon.json, and "
                "restart Docker",
            )
    if facts.devices is None:
        return
    if fronts:
        more = "give another node the label openbalena.ingress=true and its address to DNS"
        yield from _room("haproxy", facts.devices, HELD, len(fronts), MAXCONN, more)
    if vpn and vpn.replicas:
        more = f"run ./open-balena.sh swarm-scale vpn={vpn.replicas + 1}, with a node for each task"
        yield from _room("vpn", facts.devices, 1, vpn.replicas, VPN_MAXCONN, more)


def _room(name: str, devices: int, held: int, tasks: int, limit: int, more: str) -> Iterator[DoctorFinding]:
    """What does not fit into `tasks` tasks with `limit` connections each; a device holds `held` of them."""
    numbers = f"{devices} devices, {tasks} × {limit} connections"
    if devices > tasks * limit:
        detail = "the VPN connections of all devices do not fit into its tasks"
        yield DoctorFinding("maxconn", Severity.ERROR, name, detail, more, numbers)
    elif devices * held > max(tasks - 1, 1) * limit:
        detail = "what all devices hold open does not fit into its tasks" + (" if one of them is lost" * (tasks > 1))
        yield DoctorFinding("maxconn", Severity.WARNING, name, detail, more, f"{numbers}, {held} for each device")
