"""A manifest of a backup, without its parts, and what these are."""

from openbalena.backup.manifest import Manifest
from openbalena.backup.sets import SavedPart

PARTS = {"database": "d1", "s3-data": "v1", "settings": "p1"}
MANIFEST = Manifest(
    set="s1",
    mode="swarm",
    stack="ob",
    domain="my.example.com",
    begun="2026-11-26T10:00:00+00:00",
    finished="2026-11-26T10:01:00+00:00",
    version="0.1.0",
    release=3,
    images={"api": "api:1"},
    migrations=["00108", "00109", "00110"],
    database="18.1 (Debian 18.1-1)",
    rows={"device": 5},
    parts={},
)


def saved(snapshots: dict[str, str]) -> dict[str, SavedPart]:
    return {name: SavedPart(snapshot, 4, 1) for name, snapshot in snapshots.items()}
