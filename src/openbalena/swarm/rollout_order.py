"""Rollout order: what others need before them, one service with data at a time, and what clients connect to last.

The first api task, a returning internal database or store, and services that verify a shared token come before those
that present it. Otherwise a task that starts may lack one of these, or meet an old task that does not know its new
token; it would fail, and its update be rolled back.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openbalena.base.names import REPLICAS_LABEL, object_key
from openbalena.stack.diff import Change
from openbalena.swarm import object_names, service_update
from openbalena.swarm.state import Cluster, SwarmService

# s3 verifies the keys of api and registry, the api those of vpn, builder and delta.
TOKEN_VERIFIERS = ("s3", "api")
# The service that verifies a token and accepts its old value in addition to the new one, by token.
ACCEPTS_BOTH = {"REDIS_PASSWORD": "redis"}
# The services that EXTERNAL_POSTGRES and EXTERNAL_S3 replace. Other new services are not deployed first: they may need
# one that is deployed with them, as cert-manager needs the lab's ACME server.
INTERNAL = ("db", "s3")
# The order of services with data; others of them follow.
WITH_DATA = ("db", "redis", "s3")
FRONT = "haproxy"


@dataclass(frozen=True)
class Stage:
    """Services that are deployed together, after the previous stage has converged."""

    services: tuple[str, ...]
    why: str


def stages(changes: Mapping[str, Sequence[Change]], running: Collection[str], data: Collection[str]) -> list[Stage]:
    """What is deployed before the whole stack: all services that change except those of the last group.

    Services with `data` are stopped before their new task starts, so one at a time; then all that start the new task
    first, and new services, which these may need; the entry point of all traffic is the last. Nothing if the stack has
    no `running` service yet. The services are named as in the Compose file.
    """
    if not running:
        return []
    replaced = tasks_replaced(changes, running)
    new = {name for name, found in changes.items() if name not in running and found}
    stateful = sorted(
        replaced & {*data}, key=lambda name: (WITH_DATA.index(name) if name in WITH_DATA else len(WITH_DATA), name)
    )
    groups = [Stage((name,), "it is stopped while it is replaced") for name in stateful]
    groups += [Stage(tuple(sorted((replaced - {*stateful, FRONT}) | new)), f"{FRONT} forwards to them")]
    groups += [Stage(tuple(replaced & {FRONT}), "")]
    return [stage for stage in groups if stage.services][:-1]


def tasks_replaced(changes: Mapping[str, Sequence[Change]], running: Collection[str]) -> set[str]:
    """The running services whose tasks Swarm replaces because of `changes`."""
    return {name for name, found in changes.items() if name in running and any(each.replaces_tasks for each in found)}


def newly_internal(cluster: Cluster, planned: Iterable[SwarmService]) -> list[str]:
    """The internal services in `planned` that the running stack does not have, because it used external ones so far."""
    running = {service.name for service in cluster.services}
    new = [service.short_name for service in planned if service.name not in running]
    return [name for name in new if name in INTERNAL] if running else []


def one_api(cluster: Cluster, document: Mapping[str, Any]) -> dict[str, Any] | None:
    """The stack document with a single task of a new api that should have several; None if the api exists.

    On an empty database the api checks whether its model is new before it acquires the lock under which it creates the
    tables (pinejs 24.1, migrator and sbvr-utils): a second task at the same time would create them too, and fail.
    """
    replicas = int(document["services"].get("api", {}).get("deploy", {}).get("replicas", 1))
    if service_update.find_service(cluster, "api") or replicas < 2:
        return None
    few = copy.deepcopy(dict(document))
    deploy = few["services"]["api"]["deploy"]
    # With the label of the defined number, this number would look like manual scaling.
    deploy.update(replicas=1, labels={**deploy.get("labels", {}), REPLICAS_LABEL: "1"})
    return few


def versions(document: Mapping[str, Any], directory: Path, stack: str) -> dict[str, str]:
    """The names of the secrets with variables (`<service>-env`) by service, for the stack rendered in `directory`."""
    secrets = {}
    # The secrets of an earlier release are in the swarm already.
    external = [str(body["name"]) for body in (document.get("secrets") or {}).values() if body.get("external")]
    for name in (*object_names.versioned_name(document, directory, stack).values(), *external):
        key = object_key(name, stack)
        if key.endswith("-env"):
            secrets[key.removesuffix("-env")] = name
    return secrets


def services_to_roll_first(cluster: Cluster, wanted: Mapping[str, str], overlapping: Collection[str] = ()) -> list[str]:
    """The services to update before the others: those that verify a token that changes for other services too.

    `wanted` is the result of `versions`, `overlapping` are the tokens whose old value is accepted too. Redis is not
    updated first without that: when it gets its first password the api is, since a Redis without a password accepts
    any from the user `default` (Redis, src/acl.c, USER_FLAG_NOPASS).
    """
    changed = set()
    for name, secret in wanted.items():
        service = service_update.find_service(cluster, name)
        current = object_names.used_version(service, f"{name}-env") if service else ""
        if current and current != secret:
            changed.add(name)
    checkers = (*(ACCEPTS_BOTH[token] for token in overlapping), *TOKEN_VERIFIERS)
    return [name for number, name in enumerate(checkers, 1) if name in changed and changed - {*checkers[:number]}]
