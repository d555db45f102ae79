"""Restoring a set, the same in both modes: the steps, what they find, and whether they may begin.

The volumes are filled before any service uses them; the database after its own service has started, and before the api.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from openbalena.backup import clone_database, restore_scripts, results, saving, scripts
from openbalena.backup.manifest import Manifest
from openbalena.backup.newer import newer_query
from openbalena.backup.restore import Room, Target, major
from openbalena.backup.saving import Step
from openbalena.base.errors import OperationError
from openbalena.pki import database_login
from openbalena.swarm import api_schema, job

_DATABASE, _CACHES = "db-data", "redis-data"
# The volumes that a restore fills, directly or by their service, and the caches, which must be empty: device logs by
# ids that the database gives out again, and which layers the store has.
USED = (_DATABASE, *saving.VOLUMES, _CACHES)


def origin(set_id: str, clone: str) -> str:
    """What data is from: a backup, or the clone `clone` that was made of it. Neither continues the other's restore."""
    return f"{set_id} as {clone}" if clone else set_id


@dataclass(frozen=True)
class Place:
    """A volume of the deployment, mounted to be written to, and where it is or will be: the node's id and name."""

    volume: str
    mount: job.Mount
    node: str = ""
    where: str = "this machine"


def names(places: Iterable[Place]) -> str:
    """`s3-data on node1, db-data on node2`."""
    return ", ".join(f"{place.volume} on {place.where}" for place in places)


@dataclass(frozen=True)
class Inspection:
    """What a node's volumes have: `used` those with data, `marks` the restores that began or ended in them.

    `space` is the number of free bytes and the file system by volume, and by "/" for one that does not exist yet.
    `server` is the version of the database's image.
    """

    used: frozenset[str] = frozenset()
    marks: Mapping[str, str] = field(default_factory=dict)
    space: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    server: str = ""


def read_inspection(lines: Collection[str]) -> Inspection:
    """What the script of `inspection` printed. Raises OperationError if that is something else, or not complete."""
    results.require_complete(lines)
    used, marks, server = set[str](), dict[str, str](), ""
    space: dict[str, tuple[int, str]] = {}
    for line in lines:
        kind, _, rest = line.partition(" ")
        name, _, value = rest.partition(" ")
        free, _, system = value.partition(" ")
        if kind == "used":
            used.add(name)
        elif kind == "mark":
            marks[name] = value
        elif kind == "server":
            server = rest
        elif kind == "space" and free.isdecimal():
            space[name] = int(free) * 1024, system
        elif line != scripts.COMPLETE:
            raise OperationError(f"the volumes cannot be inspected: {line}")
    return Inspection(frozenset(used), marks, space, server)


@dataclass(frozen=True)
class Found:
    """What exists before a restore: the places, the inspection of each node's volumes, and the services that run.

    `database` is the state of the database (restore_scripts), "" if it does not run.
    """

    places: Sequence[Place]
    inspections: Mapping[str, Inspection]
    running: frozenset[str] = frozenset()
    database: str = ""

    def used(self, data: str) -> list[Place]:
        """The volumes with data that is not from this restore of `data`, an `origin`.

        If there are any, what the same restore has filled before counts too: since then it may have been changed.
        """
        if self.database == restore_scripts.RESTORED:
            return []
        begun = (data, restore_scripts.done(data))
        # A former run has started the database and not filled it.
        mine = self.database == restore_scripts.EMPTY and database_login.SERVICE in self.running
        there = [
            place
            for place in self.places
            if place.volume in self.inspections[place.node].used and not (mine and place.volume == _DATABASE)
        ]
        marked = [place for place in there if self.inspections[place.node].marks.get(place.volume) in begun]
        return [] if marked == there else there

    def marked(self, places: Iterable[Place]) -> list[Place]:
        """Those of `places` that have a mark of a restore."""
        return [place for place in places if place.volume in self.inspections[place.node].marks]

    def begun(self, places: Iterable[Place], clone: str) -> frozenset[str]:
        """The backups from which such a restore has begun to fill these volumes; none if one has other data."""
        marks = {self.inspections[place.node].marks.get(place.volume, "") for place in places}
        begun = {mark.removesuffix(restore_scripts.done("")) for mark in marks}
        sets = frozenset(each.partition(" ")[0] for each in begun)
        return sets if "" not in begun and begun == {origin(each, clone) for each in sets} else frozenset()


def target(
    found: Found, manifest: Manifest, settings: Mapping[str, str], api: str, *, overwrite: bool, clone: str = ""
) -> Target:
    """The deployment as `plan_restore` judges it; `api` is the image of the api in it.

    A database that this restore has filled, or that it has started and not yet filled, does not forbid it.
    """
    running = found.running
    if found.database == restore_scripts.RESTORED:
        running = frozenset()
    elif found.database == restore_scripts.EMPTY:
        running -= {database_login.SERVICE}
    used = found.used(origin(manifest.set, clone))
    known = manifest.images.get(api_schema.API, "")
    external = settings.get("EXTERNAL_POSTGRES") == "true"
    address = f"{settings['EXTERNAL_POSTGRES_HOST']}/{settings['EXTERNAL_POSTGRES_DATABASE']}" if external else ""
    servers = [major(each.server) for each in found.inspections.values() if each.server]
    return Target(
        domain=settings["DNS_TLD"],
        volumes=[place.volume for place in used],
        database=servers[0] if servers and not external else None,
        migrations=manifest.migrations if known and api_schema.same_image(known, api) else None,
        rooms=_rooms(found, manifest, {place.volume for place in used} if overwrite else set()),
        running=running,
        declared=[place.volume for place in found.places],
        external_data=address if found.database == restore_scripts.OTHER else "",
        restored=found.database == restore_scripts.RESTORED,
        begun=found.begun(used, clone),
    )


def _rooms(found: Found, manifest: Manifest, emptied: set[str]) -> list[Room]:
    """The file systems of the volumes that will be filled; none for one with a volume that is emptied first."""
    needed: dict[tuple[str, str], int] = {}
    free: dict[tuple[str, str], int] = {}
    skipped = set[tuple[str, str]]()
    for place in found.places:
        space = found.inspections[place.node].space
        bytes_free, system = space.get(place.volume, space.get("/", (0, "")))
        part = manifest.parts.get(saving.DATABASE if place.volume == _DATABASE else place.volume)
        key = place.where, system
        if place.volume in emptied:
            skipped.add(key)
        if part and system and place.volume not in found.inspections[place.node].used:
            needed[key] = needed.get(key, 0) + part.bytes
            free[key] = bytes_free
    return [
        Room(f"{where} ({system})", free[where, system], needed[where, system])
        for where, system in needed
        if (where, system) not in skipped
    ]


def inspection(places: Sequence[Place], existing: Sequence[Place]) -> Step:
    """The step that inspects a node with `places`, of which `existing` are there."""
    step = _on_node("inspect", restore_scripts.inspect_volumes(), places, "looking at the volumes on")
    return replace(step, mounts=[place.mount for place in places if place in existing])


def forgetting(places: Sequence[Place]) -> Step:
    """The step that removes the marks of former restores in these volumes of one node, before any volume is emptied.

    Otherwise a volume of which a part was deleted before a kill could still count as restored.
    """
    return _on_node("forget", restore_scripts.forget_restores(), places, "preparing the volumes on")


def emptying(places: Sequence[Place]) -> Step:
    """The step that deletes everything in these volumes of one node."""
    names = ", ".join(place.volume for place in places)
    return _on_node("empty", restore_scripts.empty_volumes(), places, f"deleting the data in {names} on")


def filling(place: Place, manifest: Manifest, clone: str = "") -> Step:
    """The step that fills a volume, for the domain `clone` if that is another one."""
    data, snapshot = origin(manifest.set, clone), manifest.parts[place.volume].snapshot
    script = restore_scripts.restore_volume(place.volume, snapshot, data)
    return Step(
        f"fill-{place.volume}", script, place.node, [place.mount], reading=f"restoring {place.volume} on {place.where}"
    )


def state(settings: Mapping[str, str], data: str, networks: Sequence[str], node: str) -> Step:
    """The step that prints the state of the database, for a restore of `data`, an `origin`."""
    server, login = saving.database_server(settings)
    # A database that was started and not yet given the login of the settings has that of its image.
    images = [] if settings.get("EXTERNAL_POSTGRES") == "true" else [database_login.IMAGES]
    logins = list(dict.fromkeys([login, *images]))
    script = restore_scripts.database_state(server, [each.role for each in logins], data)
    secrets = {saving.LOGIN: "".join(each.line() for each in logins)}
    return Step("state", script, node, (), networks, secrets, reading="looking at the database")


def database(
    settings: Mapping[str, str], manifest: Manifest, networks: Sequence[str], node: str, clone: str = ""
) -> Step:
    """The step that fills the database, for the domain `clone` if that is another one."""
    server, login = saving.database_server(settings)
    snapshot, data = manifest.parts[saving.DATABASE].snapshot, origin(manifest.set, clone)
    changes = clone_database.clone_statements(manifest.domain, clone) if clone else ""
    script = restore_scripts.restore_database(server, snapshot, data, manifest.rows, changes)
    secrets = {saving.LOGIN: login.line()}
    return Step("fill-database", script, node, (), networks, secrets, reading="restoring the database")


def newer(settings: Mapping[str, str], manifest: Manifest, networks: Sequence[str], node: str) -> Step:
    """The step that prints what the database has that the backup lacks."""
    query = newer_query(manifest.begun)
    return _question("newer", query, settings, networks, node, "looking for what is newer than the backup")


def unjoined(settings: Mapping[str, str], networks: Sequence[str], node: str) -> Step:
    """The step that prints which devices are not connected."""
    return _question("devices", clone_database.DEVICES, settings, networks, node, "listing the devices")


def _question(
    part: str, query: str, settings: Mapping[str, str], networks: Sequence[str], node: str, activity: str
) -> Step:
    server, login = saving.database_server(settings)
    script = restore_scripts.ask_database(server, query)
    return Step(part, script, node, (), networks, {saving.LOGIN: login.line()}, reading=activity)


def require_filled(lines: Sequence[str], place: Place, manifest: Manifest) -> None:
    """Raise OperationError if a volume has fewer files than the backup."""
    if restore_scripts.BEFORE in lines:
        return
    number = next((int(line.partition(" ")[2]) for line in lines if line.startswith("files ")), 0)
    expected = manifest.parts[place.volume].files
    if number < expected:
        raise OperationError(
            f"{place.volume} on {place.where} has {number} files, but the backup has {expected}: run the command again"
        )


def restored_rows(lines: Sequence[str]) -> int | None:
    """How many rows were restored; None if a former run has restored the database."""
    if restore_scripts.BEFORE in lines:
        return None
    return sum(results.database_facts(lines).rows.values())


def _on_node(part: str, script: str, places: Sequence[Place], activity: str) -> Step:
    first = places[0]
    return Step(part, script, first.node, [place.mount for place in places], reading=f"{activity} {first.where}")
