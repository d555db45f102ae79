"""Why an earlier release cannot be deployed over the running one: steps that have no way back."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from openbalena.swarm.state import SwarmService

_MAJOR = re.compile(r":v?(\d+)")
DATABASE = "db"


def reasons(
    running: Mapping[str, SwarmService], document: Mapping[str, Any], login: str, missing: Collection[str]
) -> list[str]:
    """Each reason, with what to do instead; none if the stack `document` can be deployed.

    `running` are the services by their name in the Compose file; `login` is the role that the database accepts, with
    its task, or "" if that is not known; `missing` are secrets and configs that no longer exist.
    """
    return [
        *_database_version(running, document),
        *_database_login(document, login.partition(" ")[0]),
        *_missing_objects(missing),
    ]


def _database_version(running: Mapping[str, SwarmService], document: Mapping[str, Any]) -> Iterator[str]:
    service, body = running.get(DATABASE), document["services"].get(DATABASE)
    if service is None or body is None:
        return
    now, then = major_version(service.image), major_version(body["image"])
    if now != then:
        yield (
            f"{DATABASE}: its image has major version {then} there and {now} now: an older PostgreSQL cannot read the "
            "data of a newer one. Roll back the other services one at a time (swarm-rollback RELEASE SERVICE)"
        )


def major_version(image: str) -> str:
    """The major version in an image's tag; the whole image without a digest if its tag has none."""
    name = image.partition("@")[0]
    found = _MAJOR.search(name.rpartition("/")[2])
    return found[1] if found else name


def _database_login(document: Mapping[str, Any], role: str) -> Iterator[str]:
    environment = (document["services"].get("api") or {}).get("environment") or {}
    wanted = environment.get("DB_USER", "")
    if role and DATABASE in document["services"] and wanted and wanted != role:
        yield (
            f"api: it logged in to the database as {wanted} there, which accepts only {role} since `secrets rotate "
            "DB_PASSWORD`: change what you want to undo in the settings, and run swarm-up"
        )


def _missing_objects(missing: Collection[str]) -> Iterator[str]:
    if missing:
        yield (
            f"the swarm no longer has {', '.join(missing)}: secrets and configs are kept for the last successful "
            "release before the current one. Check out that version, set its settings, and run swarm-up"
        )
