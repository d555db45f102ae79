"""What has to run before the rest of a deploy: the first task of the api, a database or store that the stack gets back,
and, of services that share a token, who checks it before who shows it.

Otherwise a task that starts may miss the first, or meet an old task that does not know its new token, end, and have its
update rolled back.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from openbalena.cluster import names, one_service, scale
from openbalena.cluster.state import Cluster, Service

# s3 checks the keys of api and registry, the api those of vpn, builder, delta.
CHECKERS = ("s3", "api")
# The service that checks a token whose old value it accepts beside the new one: before all who show it.
ACCEPTS_BOTH = {"REDIS_PASSWORD": "redis"}
# What EXTERNAL_POSTGRES and EXTERNAL_S3 take the place of. Other new services are not waited for: they may need one
# that comes with them, as cert-manager does the lab's ACME server.
INTERNAL = ("db", "s3")


def returning(cluster: Cluster, planned: Iterable[Service]) -> list[str]:
    """The internal services that `planned` has and a stack which runs has not: it used external ones so far."""
    there = {service.name for service in cluster.services}
    new = [service.short_name for service in planned if service.name not in there]
    return [name for name in new if name in INTERNAL] if there else []


def one_api(cluster: Cluster, document: Mapping[str, Any]) -> dict[str, Any] | None:
    """The stack document with one task of an api that is not there yet and shall have several; None where it is there.

    On an empty database the api asks whether its model is new before it takes the lock under which it makes the tables
    (pinejs 24.1, migrator and sbvr-utils): a second task beside it would make them, too, and fail.
    """
    asked = int(document["services"].get("api", {}).get("deploy", {}).get("replicas", 1))
    if one_service.find(cluster, "api") or asked < 2:
        return None
    few = copy.deepcopy(dict(document))
    deploy = few["services"]["api"]["deploy"]
    # The label of what the definition asks for would make this number one that was set by hand.
    deploy.update(replicas=1, labels={**deploy.get("labels", {}), scale.LABEL: "1"})
    return few


def versions(document: Mapping[str, Any], directory: Path, stack: str) -> dict[str, str]:
    """Service to the name of its file of variables (`<service>-env`), for the stack rendered in `directory`."""
    found = {}
    for name in names.versioned(document, directory, stack).values():
        key = names.key_of(name, stack)
        if key.endswith("-env"):
            found[key.removesuffix("-env")] = name
    return found


def first(cluster: Cluster, wanted: Mapping[str, str], overlapping: Collection[str] = ()) -> list[str]:
    """Which services to roll before the others: who checks a token that changes together with those who show it.

    `wanted` is what `versions` gives, `overlapping` are the tokens of which the old value is accepted, too. Without
    that Redis is no such service: where it gets its first password the api goes first, since a Redis that has none
    takes any from the user `default` (Redis, src/acl.c, USER_FLAG_NOPASS).
    """
    changed = set()
    for name, secret in wanted.items():
        service = one_service.find(cluster, name)
        held = names.used_version(service, f"{name}-env") if service else ""
        if held and held != secret:
            changed.add(name)
    checkers = (*(ACCEPTS_BOTH[token] for token in overlapping), *CHECKERS)
    return [name for number, name in enumerate(checkers, 1) if name in changed and changed - {*checkers[:number]}]
