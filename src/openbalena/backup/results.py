"""What the scripts of a backup print."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from openbalena.backup import scripts
from openbalena.backup.sets import SavedPart
from openbalena.base.errors import OperationError
from openbalena.swarm import api_schema

_INCOMPLETE = "the output of the task is not complete"


@dataclass(frozen=True)
class DatabaseFacts:
    """what the database answered in the transaction that was dumped: its version, migrations and rows by table."""

    server: str = ""
    migrations: tuple[str, ...] = ()
    rows: dict[str, int] = field(default_factory=dict)


def require_complete(lines: Collection[str]) -> None:
    """Raise OperationError unless a script that ends with scripts.COMPLETE has printed that."""
    if scripts.COMPLETE not in lines:
        raise OperationError(f"{_INCOMPLETE}: run the command again")


def created_repository(lines: Iterable[str]) -> bool:
    """Whether the script has created the repository."""
    return "created" in lines


def saved_part(lines: Sequence[str]) -> SavedPart:
    """What was saved. Raises OperationError without a result."""
    words = {line.partition(" ")[0]: line.partition(" ")[2] for line in lines}
    try:
        summary = json.loads(words["result"])
        return SavedPart(
            snapshot=str(summary["snapshot_id"]),
            bytes=int(summary["total_bytes_processed"]),
            files=int(summary["total_files_processed"]),
            vanished=int(words.get("vanished", 0)),
        )
    except (KeyError, TypeError, ValueError):
        raise OperationError(f"no result in the output of the task: {'; '.join(lines[-5:]) or 'no output'}") from None


def database_facts(lines: Iterable[str]) -> DatabaseFacts:
    """What the database answered. Raises OperationError if that is not in the output."""
    packed = "".join(line.removeprefix("answers ") for line in lines if line.startswith("answers "))
    server, migrations = "", list[str]()
    rows: dict[str, int] = {}
    try:
        for answer in unpacked(packed).splitlines():
            kind, _, rest = answer.partition(" ")
            if kind == "server":
                server = rest
            elif kind == "migrations":
                migrations = api_schema.parse_executed(rest)
            elif kind == "rows":
                table, _, count = rest.rpartition(" ")
                rows[table] = int(count)
    except ValueError as error:
        raise OperationError(f"the database's answers cannot be read: {error}") from None
    return DatabaseFacts(server, tuple(migrations), rows)


def unpacked(text: str) -> str:
    """The text that a script printed compressed. Raises OperationError if it is not complete."""
    try:
        return gzip.decompress(base64.b64decode(text, validate=True)).decode()
    except (ValueError, OSError, EOFError) as error:
        raise OperationError(f"{_INCOMPLETE}: {error}: run the command again") from None
