"""Whether a backup may be restored onto a deployment, decided from facts before anything is changed."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from openbalena.backup import saving
from openbalena.backup.manifest import Manifest
from openbalena.backup.sets import BackupSet
from openbalena.swarm import api_schema

# What a set must have at least; the objects may be in an external store.
_REQUIRED = (saving.DATABASE, saving.SETTINGS)
_ORDER = (saving.SETTINGS, *saving.VOLUMES, saving.DATABASE)


@dataclass(frozen=True)
class Room:
    """A file system, and how many bytes are free there and will be needed."""

    where: str
    free: int
    needed: int


@dataclass(frozen=True)
class Target:
    """The deployment to restore onto.

    `domain` is "" without settings. `volumes` are those of its volumes that have data. `database` is the major version
    of its PostgreSQL server, None if that is not known; `migrations` are those that its api knows, None likewise.
    `rooms` are the file systems of its volumes, `running` its services. `declared` are its volumes, with data or not,
    None if they are not known; `external_data` is the external database's address if that has data. `restored`: the
    database was filled from this backup before, and may have changed since. `begun` are the backups from which volumes
    were filled, completely or in part.
    """

    domain: str = ""
    volumes: Collection[str] = ()
    database: int | None = None
    migrations: Collection[str] | None = None
    rooms: Collection[Room] = ()
    running: Collection[str] = ()
    declared: Collection[str] | None = None
    external_data: str = ""
    restored: bool = False
    begun: Collection[str] = ()


@dataclass(frozen=True)
class RestoreOptions:
    """`overwrite`: restore although the deployment has data, which is then lost.

    `clone` is the domain of the clone to make, "" to restore the deployment itself.
    """

    overwrite: bool = False
    clone: str = ""


@dataclass(frozen=True)
class RestorePlan:
    """`refusals` are why the restore must not begin; `warnings` are what the user should know before agreeing.

    `steps` are the parts in the order of their restore.
    """

    refusals: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()


def plan_restore(found: BackupSet, manifest: Manifest, target: Target, options: RestoreOptions) -> RestorePlan:
    """Decide about the restore of the set `found`, whose manifest was read.

    Certificates and tokens come first, since every service needs them; then the volumes, which must be filled before
    a service uses them, and the database last, since its own service must run for it (docs/backup.md).
    """
    refusals = tuple(_refusals(found, manifest, target, options))
    if refusals:
        return RestorePlan(refusals)
    absent = _without_place(manifest, target)
    if options.clone:
        absent.append(saving.CERTIFICATES)
    steps = tuple(part for part in _ORDER if part in manifest.parts and part not in absent)
    return RestorePlan((), tuple(_warnings(manifest, target, options.clone)), steps)


def _refusals(found: BackupSet, manifest: Manifest, target: Target, options: RestoreOptions) -> Iterator[str]:
    if manifest.set != found.id or {name: part.snapshot for name, part in manifest.parts.items()} != found.parts:
        yield (
            f"the manifest of backup {found.id} names other snapshots than the repository's tags: someone has changed "
            "the repository: choose another backup"
        )
    if missing := [part for part in _REQUIRED if part not in manifest.parts]:
        yield f"backup {found.id} has no {' and no '.join(missing)}: choose another backup"
    if found.missing:
        yield f"the repository no longer has the {', '.join(found.missing)} of backup {found.id}: choose another backup"
    if options.clone == manifest.domain:
        yield f"the backup is of {manifest.domain} itself: restore it without --as"
    elif target.domain and target.domain != (options.clone or manifest.domain):
        yield (
            f"the backup is of {manifest.domain}, but the settings here are those of {target.domain}: its devices "
            "know only their own domain. Restore in an empty directory, which gets the settings of the backup, with "
            "--as for a clone under another domain"
        )
    if target.running:
        names, own = ", ".join(sorted(target.running)), "a clone needs its own machine or cluster"
        yield f"services are running: {names}: {own if options.clone else 'remove them first (down, or swarm-down)'}"
    if target.volumes and not options.overwrite:
        yield _data(target, options.clone)
    if target.external_data:
        yield f"the external database {target.external_data} has data, which is never deleted: use an empty one"
    yield from _database(manifest, target)
    if saving.OBJECTS in _without_place(manifest, target):
        yield (
            f"the backup has the objects ({saving.OBJECTS}), but the settings here name an external object store: set "
            "EXTERNAL_S3=false, or copy the objects there yourself and restore with a backup that has none"
        )
    for room in target.rooms:
        if room.free < room.needed:
            yield f"{room.where} has {room.free} bytes free, but {room.needed} are needed there"


def _data(target: Target, clone: str) -> str:
    found = f"the deployment has data in {', '.join(sorted(target.volumes))}"
    if target.begun:
        return (
            f"{found}, which a restore of backup {' and '.join(sorted(target.begun))} has begun to fill: name that "
            "backup to continue"
        )
    if clone:
        return f"{found}, and a clone deletes no data: use a machine or cluster without"
    return f"{found}, which would be lost: back it up, then add --overwrite"


def _without_place(manifest: Manifest, target: Target) -> list[str]:
    """The volumes of the backup that the deployment does not have."""
    known = saving.VOLUMES if target.declared is None else target.declared
    return [name for name in saving.VOLUMES if name in manifest.parts and name not in known]


def _database(manifest: Manifest, target: Target) -> Iterator[str]:
    """Why the server or the api would not run on the dump."""
    saved = major(manifest.database)
    if saved and target.database is not None and target.database < saved:
        yield (
            f"the backup's database is of PostgreSQL {saved}, and the server here is {target.database}: a dump cannot "
            f"be restored into an older version: set DB_IMAGE to an image with PostgreSQL {saved} or later"
        )
    verdict = api_schema.judge(manifest.migrations, target.migrations)
    if verdict.answer is api_schema.Answer.REFUSED:
        image = manifest.images.get(api_schema.API, "a newer image")
        yield f"the api here is older than the backup: {verdict.reason}: set API_IMAGE to {image}"


def _warnings(manifest: Manifest, target: Target, clone: str) -> Iterator[str]:
    verdict = api_schema.judge(manifest.migrations, target.migrations)
    if verdict.answer is api_schema.Answer.UNKNOWN:
        yield f"whether the api here runs on the backup's database is not known: {verdict.reason}"
    for limit in verdict.limits:
        yield f"the api here is older than the backup: {limit}"
    for name in manifest.left_out:
        yield f"not in the backup: {name}"
    for name in _without_place(manifest, target):
        yield f"not restored, since no service here uses it: {name}"
    if target.restored:
        again = (
            ". To return to the backup, remove the services first (down, or swarm-down), then run this command with "
            "--overwrite"
        )
        yield (
            "the database was restored from this backup before, and what was changed since is kept"
            f"{'' if clone else again}"
        )
        return
    if clone:
        yield f"the clone is {manifest.domain} as of {manifest.begun}: later changes are not in it"
        return
    yield (
        f"everything that was changed after {manifest.begun} is lost: devices that joined later must join again, "
        "and later keys, users and releases do not exist"
    )


def major(version: str) -> int:
    """The major version of PostgreSQL in `18.1 (Debian 18.1-1)`; 0 if it is not known."""
    number = version.partition(".")[0].partition(" ")[0]
    return int(number) if number.isdecimal() else 0
