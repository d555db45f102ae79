"""Device types: fetched from the Internet some time after the start, if it can be reached.

Source: open-balena-api 49.0.12, src/features/contracts: every five minutes by the clock, but not at startup, a job
fetches and unpacks an archive, and then reads the unpacked files, even if the fetch failed.
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

from . import outside

if TYPE_CHECKING:
    from .store import Store

# os.tmpdir(), as in the real api; files that were put there manually are also read.
DIRECTORY = Path(tempfile.gettempdir(), "contracts")
# Seconds from a successful fetch to the next.
_INTERVAL = 300.0


def start(store: Store, source: str, seconds: float | None) -> None:
    """Synchronize in `seconds`, and retry at that interval until it succeeds; never if None."""
    if seconds is not None:
        threading.Thread(target=_run, args=(store, source, seconds), daemon=True).start()


def _run(store: Store, source: str, seconds: float) -> None:
    fetched = False
    while True:
        time.sleep(_INTERVAL if fetched else seconds)
        fetched = fetch(source)
        try:
            synchronize(store)
        except Exception as error:
            print(f"Failed to synchronize contract type: hw.device-type, skipping... {error}", flush=True)


def fetch(source: str, directory: Path = DIRECTORY) -> bool:
    """Fetch and unpack the archive at `source`; returns whether that succeeded."""
    try:
        with tarfile.open(fileobj=io.BytesIO(outside.get(source))) as archive:
            for member in archive:
                # The archive's top-level directory is named after a commit.
                member.name = member.name.partition("/")[2]
                if member.name:
                    archive.extract(member, directory / "public", filter="data")
    except (OSError, tarfile.TarError) as error:
        print(f"Failed to fetch contracts, skipping... {error}", flush=True)
        return False
    return True


def device_types(directory: Path = DIRECTORY) -> Iterator[tuple[str, str]]:
    """The slug and name of each unpacked device type. Raises ValueError for a file that is not a contract."""
    for file in sorted(directory.glob("**/contracts/hw.device-type/**/*.json")):
        contract = json.loads(file.read_text())
        yield contract["slug"], contract["name"]


def synchronize(store: Store) -> None:
    """Store the device types. Raises psycopg2.Error and ValueError."""
    for slug, name in device_types():
        store.rows(
            "INSERT INTO device_type (slug, name) VALUES (%s, %s) "
            "ON CONFLICT (slug) DO UPDATE SET name = excluded.name WHERE device_type.name != excluded.name",
            (slug, name),
        )
