"""The manifest of a backup: what was saved, from what, so that a restore can be judged before it changes anything."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from openbalena.backup.sets import SavedPart
from openbalena.base.errors import OperationError

# Raised by a change after which an older version would misunderstand a set.
FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """What one backup has. None of it is secret.

    `begun` and `finished` are times (RFC 3339); the database is of a moment between them, and everything else is at
    least as new. `version` is that of this tool, `release` the number of the deployed release (None on one machine).
    `images` are the services' images, with digests where they are known. `migrations` are the keys of the database's
    migrations, `database` the server's version ("18.1"), `rows` the number of rows of each table. `volumes` are the
    labels of the volume registry, `nodes` the labels of each node by hostname. `left_out` says what was not saved.
    """

    set: str  # noqa: A003
    mode: str
    stack: str
    domain: str
    begun: str
    finished: str
    version: str
    release: int | None
    images: Mapping[str, str]
    migrations: Sequence[str]
    database: str
    rows: Mapping[str, int]
    parts: Mapping[str, SavedPart]
    volumes: Mapping[str, str] = field(default_factory=dict)
    nodes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    left_out: Sequence[str] = ()
    format: int = FORMAT  # noqa: A003

    @property
    def bytes(self) -> int:  # noqa: A003
        """The size of all parts."""
        return sum(part.bytes for part in self.parts.values())

    def text(self) -> str:
        """As it is saved."""
        return json.dumps(asdict(self), sort_keys=True)


def from_text(text: str) -> Manifest:
    """The manifest that was saved as `text`.

    Raises OperationError for one of a newer format, which may mean something else, and for a damaged one.
    """
    try:
        read: dict[str, Any] = json.loads(text)
        if int(read["format"]) > FORMAT:
            raise OperationError(
                f"the backup was made by a newer version ({read.get('version', '?')}), whose format {read['format']} "
                f"this one does not know (it knows {FORMAT}): update this project first"
            )
        parts = {str(name): SavedPart(**part) for name, part in read.pop("parts").items()}
        return Manifest(parts=parts, **read)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise OperationError(f"the backup's manifest cannot be read: {text[:200]!r}") from None
