"""Saving a set, the same in both modes: which parts in which order, and the manifest as the last one.

The database comes first: a push writes an image's objects before the row that says that the image is complete, so a
store that is saved later has every object of the saved rows (open-balena-api, POST image; docs/backup.md).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from secrets import token_hex
from typing import Protocol

from openbalena.backup import results, scripts, sets
from openbalena.backup.manifest import Manifest, from_text
from openbalena.backup.sets import BackupSet, Sets
from openbalena.base.errors import OperationError
from openbalena.base.names import BACKUP_SECRETS
from openbalena.pki import database_login
from openbalena.pki.database_login import Login
from openbalena.swarm import job

_, LOGIN, MANIFEST = BACKUP_SECRETS
DATABASE, SETTINGS = "database", "settings"
# The volumes that are saved: the objects, and the account and certificates of Let's Encrypt (its rate limits).
OBJECTS, CERTIFICATES = "s3-data", "cert-manager-data"
_CONTENTS = {OBJECTS: "the objects", CERTIFICATES: "the account of Let's Encrypt"}
VOLUMES = tuple(_CONTENTS)


@dataclass(frozen=True)
class Step:
    """One part of a set: `script` saves it. `secrets` are files for it, by name.

    One that saves nothing has in `reading` what it does instead, for messages.
    In a cluster, it runs on `node` (an id; `where` is its name, for messages) with `mounts`, in `networks`, and with
    the `stored` secrets of the swarm.
    """

    part: str
    script: str
    node: str = ""
    mounts: Sequence[job.Mount] = ()
    networks: Sequence[str] = ()
    secrets: Mapping[str, str] = field(default_factory=dict)
    stored: Sequence[str] = ()
    reading: str = ""
    where: str = ""

    @property
    def subject(self) -> str:
        """What is saved, for messages."""
        what = f"volume {self.part}" if self.part in VOLUMES else self.part
        return f"{what} on {self.where}" if self.where else what

    @property
    def activity(self) -> str:
        """What happens while it runs."""
        return self.reading or f"saving the {self.subject}"


class Runner(Protocol):
    """Runs the scripts of a backup where the data is."""

    def run(self, step: Step) -> job.JobResult:
        """The result of the step's script."""


@dataclass(frozen=True)
class SetOptions:
    """What all parts of a set have in common; `limit` is the largest upload rate in KiB/s, None for no limit."""

    id: str
    domain: str
    limit: int | None = None

    def of(self, part: str, tags: Sequence[str] | None = None) -> str:
        """restic's options for the snapshot of a part."""
        return scripts.options(self.domain, tags or sets.part_tags(self.id, part), self.limit)


def new_set_id(now: datetime | None = None) -> str:
    """The id of a set that begins `now`: its time in UTC, and four hex digits for sets of the same second."""
    return f"{now or datetime.now(UTC):%Y%m%dT%H%M%SZ}-{token_hex(2)}"


def new_manifest(
    identifier: str,
    settings: Mapping[str, str],
    *,
    mode: str,
    name: str,
    version: str,
    images: Mapping[str, str],
    release: int | None = None,
    volumes: Mapping[str, str] | None = None,
    nodes: Mapping[str, Mapping[str, str]] | None = None,
) -> Manifest:
    """The manifest of a set that begins now, before anything is saved; `name` is that of the stack or project."""
    return Manifest(
        set=identifier,
        mode=mode,
        stack=name,
        domain=settings["DNS_TLD"],
        begun=_moment(),
        finished="",
        version=version,
        release=release,
        images=images,
        migrations=(),
        database="",
        rows={},
        parts={},
        volumes=volumes or {},
        nodes=nodes or {},
        left_out=left_out(settings),
    )


def database_step(options: SetOptions, settings: Mapping[str, str], networks: Sequence[str], node: str = "") -> Step:
    """The step that saves the database of the settings, internal or external."""
    server, login = database_server(settings)
    script = scripts.save_database(server, options.of(DATABASE))
    return Step(DATABASE, script, node, networks=networks, secrets={LOGIN: login.line()})


def database_server(settings: Mapping[str, str]) -> tuple[dict[str, str], Login]:
    """Where the database of the settings is, as `scripts.save_database` needs it, and its login."""
    if settings.get("EXTERNAL_POSTGRES") == "true":
        names = ("host", "port", "database", "user")
        server = {name: settings[f"EXTERNAL_POSTGRES_{name.upper()}"] for name in names}
        return server, Login(server["user"], settings["EXTERNAL_POSTGRES_PASSWORD"])
    login = database_login.in_use(settings) or database_login.IMAGES
    server = {"host": database_login.SERVICE, "port": "5432", "database": database_login.DATABASE}
    return {**server, "user": login.role}, login


def left_out(settings: Mapping[str, str]) -> list[str]:
    """What a backup does not have, for the manifest and the user."""
    found = ["redis-data: device logs, and which devices were online"]
    if settings.get("EXTERNAL_S3") == "true":
        found.append(f"the external object store {settings['EXTERNAL_S3_ENDPOINT']}: save it with its own means")
    return found


def volume_step(volume: str, options: SetOptions, settings: Mapping[str, str], mount: job.Mount) -> Step:
    """The step that saves a volume, and fails if the settings say that it has data and it has none."""
    script = scripts.save_volume(volume, options.of(volume), may_be_empty=not _has_data(volume, settings))
    return Step(volume, script, mounts=[mount])


def require_volumes(settings: Mapping[str, str], steps: Iterable[Step], known: Collection[str] = ()) -> None:
    """Raise OperationError if none of the steps saves the internal store, without which a backup looks complete, or
    one of `known`, which the deployment has had, and which has data by the settings."""
    saved = {step.part for step in steps}
    for volume, content in _CONTENTS.items():
        if volume in saved or not _has_data(volume, settings) or volume not in {OBJECTS, *known}:
            continue
        raise OperationError(
            f"volume {volume}, which has {content}, was not found, so there is no new backup: start its service "
            "(up, or swarm-up), then run this command again. If the volume was lost, restore a backup instead"
        )


def _has_data(volume: str, settings: Mapping[str, str]) -> bool:
    """Whether the volume cannot be empty: MinIO and, with ACME, certbot write to it before they do anything else."""
    return settings.get("EXTERNAL_S3") != "true" if volume == OBJECTS else bool(settings.get("ACME_EMAIL"))


def save_set(
    steps: Iterable[Step],
    runner: Runner,
    options: SetOptions,
    described: Manifest,
    report: Callable[[str], None],
) -> Manifest:
    """Save the parts in order, the database first, and then the manifest: `described` with what was saved.

    Raises OperationError if a part cannot be saved. Without a manifest, what was saved does not count as a backup.
    """
    manifest, last = described, Step("", "")
    for step in steps:
        lines = _run(step, runner, report)
        if step.part == DATABASE:
            facts = results.database_facts(lines)
            manifest = replace(manifest, migrations=facts.migrations, database=facts.server, rows=facts.rows)
            if results.created_repository(lines):
                report("the repository did not exist and was created")
        manifest = replace(manifest, parts={**manifest.parts, step.part: results.saved_part(lines)})
        last = step
    manifest = replace(manifest, finished=_moment())
    tags = sets.manifest_tags(manifest.set, manifest.mode, manifest.stack, manifest.parts)
    script = scripts.save_file(MANIFEST, "manifest.json", options.of(sets.MANIFEST, tags))
    _run(Step(sets.MANIFEST, script, last.node, secrets={MANIFEST: manifest.text()}), runner, report)
    return manifest


def require_result(outcome: job.JobResult, what: str, address: str = "") -> Sequence[str]:
    """The lines of a script that succeeded. Raises OperationError that says why `what` could not be done."""
    if outcome.exit_code == scripts.NO_REPOSITORY:
        where = f" in {address}" if address else ""
        raise OperationError(f"there are no backups{where} yet: run ./open-balena.sh backup create")
    if not outcome.ok:
        error = job.error_text(outcome)
        hint = ": run ./open-balena.sh swarm-build, which builds it" if "No such image" in error else ""
        raise OperationError(f"{what}: {error}{hint}")
    return outcome.lines


def read_repository(runner: Runner, address: str) -> Sets:
    """The sets in the repository at `address`. Raises OperationError if it has none yet."""
    outcome = runner.run(Step("list", scripts.LIST, reading="listing the backups"))
    return sets.read_sets(results.unpacked("".join(require_result(outcome, "the backups cannot be listed", address))))


def read_manifest(runner: Runner, found: BackupSet) -> Manifest:
    """The manifest of a set. Raises OperationError if it is damaged."""
    outcome = runner.run(Step("check", scripts.dump_manifest(found.manifest), reading="reading the manifest"))
    return from_text(results.unpacked("".join(require_result(outcome, "the backup's manifest cannot be read"))))


def _run(step: Step, runner: Runner, report: Callable[[str], None]) -> Sequence[str]:
    report(step.activity)
    return require_result(runner.run(step), f"the {step.subject} could not be saved, so there is no new backup")


def _moment() -> str:
    """Now, in UTC (RFC 3339)."""
    return datetime.now(UTC).isoformat(timespec="seconds")
