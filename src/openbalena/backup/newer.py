"""What a deployment has that an older backup of it lacks, which devices and users will notice after a restore."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from openbalena.backup import results
from openbalena.backup.scripts import sql_text
from openbalena.base.errors import OperationError

# What is counted in the query below.
_COUNTED = ("devices", "releases", "API keys", "users")
# Tables of open-balena-api (src/balena.sbvr). Twenty devices are named.
_QUERY = """SELECT json_build_object(
    'devices', (SELECT count(*) FROM device WHERE "created at" > {begun}),
    'releases', (SELECT count(*) FROM release WHERE "created at" > {begun}),
    'API keys', (SELECT count(*) FROM "api key" WHERE "created at" > {begun}),
    'users', (SELECT count(*) FROM "user" WHERE "created at" > {begun}),
    'uuids', (SELECT coalesce(json_agg(uuid), '[]') FROM (
        SELECT uuid FROM device WHERE "created at" > {begun} ORDER BY "created at" LIMIT 20
    ) AS named));
"""


@dataclass(frozen=True)
class Newer:
    """How many `devices`, `releases` and so on are newer than a backup, and the uuids of the first such devices."""

    counts: Mapping[str, int]
    uuids: tuple[str, ...] = ()

    def __str__(self) -> str:
        """`devices 2 (3f1c…, 77ab…), API keys 4`; empty if nothing is newer."""
        found = [f"{what} {count}{self._names(what)}" for what, count in self.counts.items() if count]
        return ", ".join(found)

    def _names(self, what: str) -> str:
        more = ", …" if self.counts[what] > len(self.uuids) else ""
        return f" ({', '.join(self.uuids)}{more})" if what == "devices" else ""


def newer_query(begun: str) -> str:
    """The SQL that asks for what was created after `begun`, the beginning of a backup (RFC 3339)."""
    return _QUERY.format(begun=sql_text(begun))


def read_newer(lines: Iterable[str]) -> Newer:
    """What the script printed that asked the query. Raises OperationError if that is not complete."""
    answer = results.unpacked("".join(line.removeprefix("answers ") for line in lines))
    try:
        read = json.loads(answer)
        return Newer({what: int(read[what]) for what in _COUNTED}, tuple(map(str, read["uuids"])))
    except (ValueError, TypeError, KeyError):
        raise OperationError(f"what is newer cannot be read: {answer[:200]!r}") from None
