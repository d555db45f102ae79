"""Which addresses serve a certificate for the api's host name: a cluster's ingress nodes, or one machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from openbalena.base.errors import UsageError
from openbalena.base.names import INGRESS_LABEL
from openbalena.operations.reporter import Reporter
from openbalena.operations.verify import public_addresses
from openbalena.operations.workspace import Workspace
from openbalena.settings import Settings
from openbalena.swarm import certificate_rollout, placement, state

# Seconds in which HAProxy has noticed a new file, which it looks for every 10 s if the kernel reports no change.
_RELOAD_TIMEOUT = 30.0


@dataclass(frozen=True)
class Endpoints:
    """The addresses that were asked, each with its name for the user, and why some do not serve the certificate.

    `mesh` is set if the routing mesh chooses which HAProxy answers at each address.
    """

    names: Mapping[str, str]
    failures: Mapping[str, str]
    mesh: bool = False

    @property
    def other(self) -> list[str]:
        """The addresses that serve another certificate."""
        return [
            address
            for address, reason in self.failures.items()
            if reason == certificate_rollout.SERVES_OTHER_CERTIFICATE
        ]

    @property
    def unreachable(self) -> list[str]:
        """The addresses that do not answer on port 443."""
        return [address for address in self.failures if address not in self.other]

    def serving(self) -> list[str]:
        """A line for each address that serves the certificate."""
        through = " (through the routing mesh: any node's HAProxy may have answered)" if self.mesh else ""
        return [
            f"{name} ({address}) serves it{through}."
            for address, name in self.names.items()
            if address not in self.failures
        ]


def cluster_endpoints(client: Any, settings: Settings, chain: bytes) -> Endpoints:
    """What the ingress nodes serve, of which `chain` (PEM) is expected. Raises UsageError if no node has the label."""
    nodes = state.read_cluster(client, settings["STACK_NAME"]).nodes
    names = {node.address: node.hostname for node in placement.nodes_with_label(nodes, INGRESS_LABEL) if node.usable}
    if not names:
        raise UsageError(f"no node has the label {INGRESS_LABEL}=true: run ./open-balena.sh swarm-init")
    failures = certificate_rollout.tasks_not_serving(names, f"api.{settings['DNS_TLD']}", chain, _RELOAD_TIMEOUT)
    return Endpoints(names, failures, settings["INGRESS_MODE"] == "mesh")


def machine_endpoints(workspace: Workspace, settings: Settings, chain: bytes) -> Endpoints:
    """What the api's host name leads to, of which `chain` (PEM) is expected; no address if it does not resolve."""

    host = f"api.{settings['DNS_TLD']}"
    addresses = public_addresses(workspace, host)
    return Endpoints(
        dict.fromkeys(addresses, host), certificate_rollout.tasks_not_serving(addresses, host, chain, _RELOAD_TIMEOUT)
    )


def warn_of_unreachable(endpoints: Endpoints, reporter: Reporter) -> None:
    """Warn of each address whose certificate could not be read."""
    for address in endpoints.unreachable:
        reporter.warn(
            f"{endpoints.names[address]} ({address}) could not be checked on port 443: {endpoints.failures[address]}"
        )
