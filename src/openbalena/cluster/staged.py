"""Tokens that services share: who checks them gets new ones before who shows them.

Otherwise a task that starts with a new token may meet an old task that does not know it, end, and have its update
rolled back.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openbalena.cluster import names, one_service
from openbalena.cluster.state import Cluster

# s3 checks the keys of api and registry, the api those of vpn, builder, delta.
CHECKERS = ("s3", "api")


def versions(document: Mapping[str, Any], directory: Path, stack: str) -> dict[str, str]:
    """Service to the name of its file of variables (`<service>-env`), for the stack rendered in `directory`."""
    found = {}
    for name in names.versioned(document, directory, stack).values():
        key = name.removeprefix(f"{stack}_").rpartition("-")[0]
        if key.endswith("-env"):
            found[key.removesuffix("-env")] = name
    return found


def first(cluster: Cluster, wanted: Mapping[str, str]) -> list[str]:
    """Which services to roll before the others: CHECKERS whose variables change together with another service's.

    `wanted` is what `versions` gives.
    """
    changed = set()
    for name, secret in wanted.items():
        service = one_service.find(cluster, name)
        held = one_service.holds(service, f"{name}-env") if service else ""
        if held and held != secret:
            changed.add(name)
    return [name for number, name in enumerate(CHECKERS, 1) if name in changed and changed - {*CHECKERS[:number]}]


def roll(client: Any, cluster: Cluster, name: str, secret: str, directory: Path, timeout: float) -> None:
    """Roll the service `name` on its new variables and wait; raises OperationError where it does not run with them."""
    service = one_service.find(cluster, name)
    if service is None:
        return
    content = (directory / "secrets" / f"{name}.env").read_bytes()
    one_service.replace_secret(client, service, one_service.holds(service, f"{name}-env"), secret, content)
    one_service.until_runs(client, cluster.services[0].stack, name, timeout)
