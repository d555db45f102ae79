"""What doctor reads of the swarm as a whole, and of this machine's settings."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from openbalena.base.errors import OpenBalenaError, UsageError
from openbalena.doctor.facts import Network, SwarmFacts
from openbalena.operations import built_images, settings_sync
from openbalena.operations import deployment as deployments
from openbalena.operations.workspace import Workspace
from openbalena.settings import Settings
from openbalena.swarm import scale, settings_store
from openbalena.swarm.state import Cluster

# docs.docker.com/reference/cli/docker/swarm/init: the default data path port; certificates of nodes are valid for 90 d.
_DATA_PATH_PORT = 4789


def read_swarm(client: Any, now: datetime) -> SwarmFacts:
    """The facts about the swarm that a manager has. Raises docker.errors.APIError."""
    swarm = client.api.inspect_swarm()
    root = (swarm.get("TLSInfo") or {}).get("TrustRoot", "")
    nodes = client.api.nodes()
    spec = swarm["Spec"]
    return SwarmFacts(
        autolock=bool((spec.get("EncryptionConfig") or {}).get("AutoLockManagers")),
        data_path_port=swarm.get("DataPathPort") or _DATA_PATH_PORT,
        node_expiry=(spec.get("CAConfig") or {}).get("NodeCertExpiry", 0) / 1e9,
        root_left=_left(root, now),
        # Nothing changes a node that is down, so that its last change was when it became so, or later.
        away={
            raw["ID"]: (now - datetime.fromisoformat(raw["UpdatedAt"])).total_seconds()
            for raw in nodes
            if raw.get("Status", {}).get("State") == "down"
        },
        other_root=frozenset(
            raw["ID"]
            for raw in nodes
            if root and (known := raw.get("Description", {}).get("TLSInfo", {}).get("TrustRoot")) and known != root
        ),
        subnets={
            raw["Name"]: found
            for raw in client.api.networks(filters={"driver": "overlay"})
            if (found := tuple(_subnets(raw)))
        },
        subnet_size=swarm.get("SubnetSize") or 24,
    )


def settings_drift(client: Any, workspace: Workspace, settings: Settings) -> str:
    """How this machine's settings differ from the deployed ones; "" if they do not, or nothing is deployed."""
    found = settings_store.latest(client, settings["STACK_NAME"])
    if found is None:
        return ""
    try:
        difference = settings_sync.difference(found, workspace.project, settings)
    except UsageError:
        return f"{found.owner} deployed this stack, and this machine has no CA for it"
    return f"{found.owner} deployed this stack with {difference}" if difference else ""


@dataclass(frozen=True)
class Planned:
    """What a deploy from here would use, by service: images, except those that it would build, and numbers of tasks."""

    images: Mapping[str, str] = field(default_factory=dict)
    replicas: Mapping[str, int] = field(default_factory=dict)


def planned_services(workspace: Workspace, cluster: Cluster) -> Planned:
    """Empty if the settings or definitions are wrong, which swarm-up reports."""
    with suppress(OpenBalenaError):
        deployment = deployments.load(workspace.project, lab=workspace.lab)
        document, _ = scale.keep_manual_replicas(deployment.compiled.document, cluster)
        services = document.get("services", {})
        images = {name: body.get("image", "") for name, body in services.items()}
        built = {images.get(build.service) for build in built_images.planned_builds(deployment, lab=workspace.lab)}
        return Planned(
            {name: image for name, image in images.items() if image not in built},
            {name: int(body["deploy"].get("replicas", 1)) for name, body in services.items()},
        )
    return Planned()


def _left(certificates: str, now: datetime) -> float | None:
    """Seconds until the first of some PEM certificates expires; None if there are none that can be read."""
    from cryptography import x509

    with suppress(ValueError):
        found = x509.load_pem_x509_certificates(certificates.encode())
        return (min(each.not_valid_after_utc for each in found) - now).total_seconds()
    return None


def _subnets(network: Mapping[str, Any]) -> Iterator[Network]:
    for entry in (network.get("IPAM") or {}).get("Config") or ():
        if entry.get("Subnet"):
            yield ipaddress.ip_network(entry["Subnet"], strict=False)
