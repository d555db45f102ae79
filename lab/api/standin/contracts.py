"""Device types come from outside, some time after the start, or not at all.

Source: open-balena-api 49.0.12, src/features/contracts: a job, every five minutes by the clock and not at the start,
fetches and unpacks an archive, and then reads what lies unpacked, whether or not that worked.
"""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from standin import outside

if TYPE_CHECKING:
    from standin.store import Store

# os.tmpdir(), as in the real api; what somebody puts there is read too.
DIRECTORY = Path(tempfile.gettempdir(), "contracts")
# Seconds from one fetch that worked to the next.
_INTERVAL = 300.0


def start(store: Store, source: str, seconds: float | None) -> None:
    """Synchronize `seconds` from now, and so often until it worked; never where it is None."""
    if seconds is not None:
        threading.Thread(target=_run, args=(store, source, seconds), daemon=True).start()


def _run(store: Store, source: str, seconds: float) -> None:
    worked = False
    while True:
        time.sleep(_INTERVAL if worked else seconds)
        worked = fetch(source)
        try:
            synchronize(store)
        except Exception as error:
            print(f"Failed to synchronize contract type: hw.device-type, skipping... {error}", flush=True)


def fetch(source: str, directory: Path = DIRECTORY) -> bool:
    """Whether the archive at `source` was fetched and unpacked."""
    try:
        with tarfile.open(fileobj=io.BytesIO(outside.get(source))) as archive:
            for member in archive:
                # The archive's one folder is named after a commit.
                member.name = member.name.partition("/")[2]
                if member.name:
                    archive.extract(member, directory / "public", filter="data")
    except (OSError, tarfile.TarError) as error:
        print(f"Failed to fetch contracts, skipping... {error}", flush=True)
        return False
    return True


def device_types(directory: Path = DIRECTORY) -> Iterator[tuple[str, str]]:
    """Slug and name of each that lies there. Raises ValueError for a file that is no contract."""
    for file in sorted(directory.glob("**/contracts/hw.device-type/**/*.json")):
        contract = json.loads(file.read_text())
        yield contract["slug"], contract["name"]


def synchronize(store: Store) -> None:
    """Raises psycopg2.Error and ValueError."""
    for slug, name in device_types():
        store.rows(
            "INSERT INTO device_type (slug, name) VALUES (%s, %s) "
            "ON CONFLICT (slug) DO UPDATE SET name = excluded.name WHERE device_type.name != excluded.name",
            (slug, name),
        )
