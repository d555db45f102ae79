"""What a database says of the deployment it is from, changed where a backup is restored as another one: a clone.

The tables are open-balena-api's (src/balena.sbvr) and, for `task`, pinejs's (src/tasks/tasks.sbvr).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from openbalena.backup import results
from openbalena.backup.scripts import sql_text
from openbalena.base.errors import OperationError

# The api made every image's location with the name of its registry (open-balena-api, image-is-stored-at-location.ts).
# One in another registry is left: that is where devices find it.
_LOCATIONS = """UPDATE image SET "is stored at-image location" =
    {new} || substr("is stored at-image location", length({old}) + 1)
    WHERE starts_with("is stored at-image location", {old});
"""
# The api reaches a device through the VPN task that the device's row names, by that task's address: in a clone these
# rows would lead to whatever has the address there (device-proxy.ts). Older versions have numbers for the booleans, and
# the same default. What is queued would be done by both deployments.
_CONNECTIONS = """UPDATE device SET "is online" = DEFAULT, "is connected to vpn" = DEFAULT,
    "is managed by-service instance" = NULL, "api heartbeat state" = 'unknown';
DELETE FROM "service instance";
DO $queued$ BEGIN IF to_regclass('public.task') IS NOT NULL THEN
    DELETE FROM task WHERE status = 'queued';
END IF; END $queued$;
"""
# Which devices are not connected: after a clone was made all, later those that have not joined it.
DEVICES = """SELECT json_build_object('uuid', device.uuid, 'name', coalesce(device."device name", ''),
    'fleet', coalesce(application.slug, ''), 'seen', coalesce(device."last connectivity event"::text, ''))
    FROM device LEFT JOIN application ON application.id = device."belongs to-application"
    WHERE device."is connected to vpn"::int = 0 ORDER BY application.slug, device."device name", device.uuid;
"""


@dataclass(frozen=True)
class UnjoinedDevice:
    """A device that is not connected to the clone. `fleet` is the fleet's slug; `seen`, when it was last connected to
    the original, as PostgreSQL writes times. Both are "" if there is none."""

    uuid: str
    name: str
    fleet: str
    seen: str


def clone_statements(original: str, domain: str) -> str:
    """The SQL that makes the database of the domain `original`, just restored, one of `domain`.

    It needs `public` as the search path, and belongs in the restore's transaction. Secrets in the database are kept:
    the api sets the services' keys when it starts, and devices have theirs until they join.
    """
    old, new = (sql_text(f"registry2.{each}") for each in (f"{original}/", f"{domain}/"))
    return _LOCATIONS.format(old=old, new=new) + _CONNECTIONS


def unjoined_devices(lines: Iterable[str]) -> tuple[UnjoinedDevice, ...]:
    """What the script printed that asked DEVICES. Raises OperationError if that is not complete."""
    answer = results.unpacked("".join(line.removeprefix("answers ") for line in lines))
    try:
        return tuple(UnjoinedDevice(**json.loads(line)) for line in answer.splitlines())
    except (ValueError, TypeError):
        raise OperationError(f"the list of devices cannot be read: {answer[:200]!r}") from None
