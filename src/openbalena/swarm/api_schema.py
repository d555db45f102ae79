"""Whether a version of the api runs on a database that newer versions may have migrated: one decision for all commands.

The api's migrations have no way back, and an older api does not notice those that it does not know (pinejs 24,
migrator/sync.ts): it starts, and runs as long as the schema still has all that it needs. So it depends on what the
migrations that it does not know have done. They are known by their key, the part of the file's name before the first
dash, in the table `migration`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

API = "api"
_VERSION = re.compile(r":v?(\d+)\.(\d+)\.(\d+)")
# Prints the keys of the executed migrations. The column is jsonb, in older databases text with JSON.
QUERY = """SELECT "executed migrations"::text FROM migration WHERE "model name" = 'resin'"""

# Migrations that only add to the schema, so that an older api runs on it, and what it then cannot do ("" if there is
# nothing to know). Source: open-balena-api 49.0.12, src/migrations. All others count as a step without a way back.
ADDITIVE: Mapping[str, str] = {
    "00109": "an application that is named as the one by which others are updated cannot be deleted",
    "00110": "",
    "00111": "a device's overall status follows its VPN connection, as in the newer version",
    "00112": "an actor cannot belong to two users",
    "00113": "a release with an image that has profiles cannot be deleted",
    "00114": "an application with profiles cannot be deleted",
}


class Answer(StrEnum):
    """Whether the api may be deployed over the database."""

    ALLOWED = "allowed"
    LIMITED = "limited"
    UNKNOWN = "unknown"
    REFUSED = "refused"


@dataclass(frozen=True)
class Verdict:
    """`limits` is what the api cannot do then, only if LIMITED; `reason` is why it is UNKNOWN or REFUSED."""

    answer: Answer
    limits: tuple[str, ...] = ()
    reason: str = ""


def judge(executed: Collection[str] | None, known: Collection[str] | None) -> Verdict:
    """Decide from the keys that the database has executed, and those that the api's version knows.

    None means that they are not known, which never allows anything.
    """
    if executed is None:
        return Verdict(Answer.UNKNOWN, reason="which migrations the database has could not be read")
    if known is None:
        return Verdict(Answer.UNKNOWN, reason="no successful release has recorded which migrations that api knows")
    newer = sorted(set(executed) - set(known), key=_number)
    if breaking := [key for key in newer if key not in ADDITIVE]:
        return Verdict(
            Answer.REFUSED,
            reason=f"a newer version has changed the database by migration {', '.join(breaking)}, of which it is not "
            "known that an older api runs on it",
        )
    limits = tuple(ADDITIVE[key] for key in newer if ADDITIVE[key])
    return Verdict(Answer.LIMITED, limits) if limits else Verdict(Answer.ALLOWED)


def parse_executed(text: str) -> list[str]:
    """The keys in the result of QUERY. Raises ValueError for anything else."""
    keys = json.loads(text)
    if not (isinstance(keys, list) and all(isinstance(key, str) for key in keys)):
        raise ValueError(f"expected a list of migrations: {text[:80]}")
    return keys


def same_image(one: str, other: str) -> bool:
    """Whether two references mean the same image; without a digest on both sides, the tag decides."""
    if "@" in one and "@" in other:
        return one.partition("@")[2] == other.partition("@")[2]
    return one.partition("@")[0] == other.partition("@")[0]


def is_older(image: str, other: str) -> bool:
    """Whether the version in the tag of `image` is lower than that of `other`; False unless both tags have one."""
    one, two = image_version(image), image_version(other)
    return bool(one and two) and one < two


def image_version(image: str) -> tuple[int, ...]:
    """The version in an image's tag, such as (49, 0, 8); empty if the tag has none."""
    found = _VERSION.search(image.partition("@")[0].rpartition("/")[2])
    return tuple(map(int, found.groups())) if found else ()


def _number(key: str) -> tuple[int, str]:
    return (int(key) if key.isdigit() else 0, key)
