"""The record of a migration between Compose and Swarm: it says which of two copies of the data is in use.

It is a file in resin-data, which only a Compose deployment uses, so that every command that reaches the engine sees it,
and it disappears with the volumes that it speaks of.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from openbalena.base.errors import OperationError
from openbalena.base.names import MIGRATION_MARK
from openbalena.machine import volumes

Mode = Literal["compose", "swarm"]
# The volume with the record (its name in the Compose file), and where the services mount it.
VOLUME, DIRECTORY = "resin-data", "/balena"
PATH = f"{DIRECTORY}/{MIGRATION_MARK}"


@dataclass(frozen=True)
class Migration:
    """A migration to the mode `to`, of or into the stack `stack`; `begun` is its time (RFC 3339).

    Of the old deployment while it ran: `image` has the programs of the copy, `failing` are the acceptance checks that
    failed, and `rows` the numbers of rows of tables.

    `copied`: the copy is complete and its deployment was started, so that it may have newer data than the old one.
    `finished`: the new deployment was verified.
    """

    to: Mode
    stack: str
    begun: str
    image: str
    failing: Sequence[str] = ()
    rows: Mapping[str, int] = field(default_factory=dict)
    copied: bool = False
    finished: bool = False

    @property
    def origin(self) -> Mode:
        """The mode that is migrated from."""
        return "swarm" if self.to == "compose" else "compose"

    @property
    def in_use(self) -> Mode:
        """The mode whose volumes have the newest data."""
        return self.to if self.copied else self.origin


def from_files(files: Mapping[str, bytes | None]) -> Migration | None:
    """The record in the files of VOLUME, by path; None if there is none. Raises OperationError if it is damaged."""
    content = files.get(PATH)
    if content is None:
        return None
    try:
        return Migration(**json.loads(content))
    except (ValueError, TypeError):
        raise OperationError(
            f"{PATH} in volume {VOLUME} is damaged: it should say whether the data of the Compose deployment or of the "
            "stack is in use: find out which is newer, then delete the file"
        ) from None


def read_migration(client: Any, volume: str) -> Migration | None:
    """The record in `volume` (VOLUME, by the Engine's name), or None. Raises OperationError as `from_files`."""
    if not volumes.existing_volumes(client, [volume]):
        return None
    with volumes.volume_container(client, {volume: DIRECTORY}) as holder:
        there = volumes.stat_file(client, holder, PATH)
        return from_files({PATH: volumes.directory_content(client, holder, PATH)} if there else {})


def write_migration(client: Any, volume: str, migration: Migration) -> None:
    """Store the record in the existing `volume`."""
    content = json.dumps(asdict(migration)).encode()
    with volumes.volume_container(client, {volume: DIRECTORY}) as holder:
        volumes.write_file(client, holder, DIRECTORY, {MIGRATION_MARK: (content, 0o600)})
