"""migrate: from Compose to a swarm on the same engine, or back; on any failure the old deployment runs again.

The data is copied to the volumes of the other mode: first while the services run, then, once they have stopped, what
has changed meanwhile. Until a record says that the copy is complete, the old deployment is the one in use, and nothing
has changed for it but that it was stopped; then the new one is. So a command that was killed anywhere can be run again:
it starts over with what is copied already, or it finishes. In the old volumes nothing changes, except for the record.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from openbalena import settings
from openbalena.base.errors import OpenBalenaError, OperationError, UsageError
from openbalena.base.polling import elapsed_reporter
from openbalena.base.sizes import format_size
from openbalena.machine import database
from openbalena.machine.migration import VOLUME, Migration, Mode, read_migration, write_migration
from openbalena.machine.volume_copy import Copier
from openbalena.operations.manager import manager_client
from openbalena.operations.migration_plan import MigrationPlan, Planner
from openbalena.operations.migration_sides import Sides, read_sides
from openbalena.operations.reporter import Reporter
from openbalena.operations.settings_lock import migration_lock
from openbalena.operations.verify import failing_checks
from openbalena.operations.workspace import Workspace
from openbalena.swarm import lock

# Seconds for one pass over a volume: terabytes on a slow disk. Until the last pass nothing waits for it.
_COPY_TIMEOUT = 86400.0


@dataclass(frozen=True)
class MigrateOptions:
    """`to` is the mode to migrate to, without which nothing is done. `dry_run` only plans.

    `timeout` is in seconds, for each wait. `take_over` is the id of a stale lock.
    """

    to: Mode | None
    timeout: float
    dry_run: bool = False
    take_over: str = ""


@dataclass(frozen=True)
class MigrateResult:
    """`title` is the deployment that is in use now. `downtime` is in seconds, None if the services were stopped by an
    earlier command. `old` are the volumes that are no longer needed; `rows` were counted in the new database."""

    title: str
    downtime: float | None = None
    old: tuple[str, ...] = ()
    rows: Mapping[str, int] | None = None


def migrate(options: MigrateOptions, workspace: Workspace, reporter: Reporter) -> MigrateResult | None:
    """Migrate, or finish a migration that was interrupted; None if it was only planned.

    Raises UsageError if there is nothing to migrate, OperationError if it fails: then the old deployment runs again, or
    the error says what to do.
    """
    with _begun(options.timeout, options.take_over, workspace, reporter) as run:
        if options.to is None:
            raise UsageError("migrate: expected --to swarm, --to compose or --undo")
        known = run.read()
        if known and known.to == options.to and known.copied:
            if known.finished:
                raise UsageError(f"migrate --to {known.to}: {run.sides.of(known.to).title} already has the data")
            if options.dry_run:
                reporter.progress(
                    f"{run.sides.of(known.to).title} has all data: the migration of {known.begun} would be finished"
                )
                return None
            return run.complete(known)
        plan = run.planner.plan(options.to, known)
        _show(plan, options.to, run.sides, reporter)
        if options.dry_run:
            return None
        if not reporter.confirm(f"Migrate from {run.sides.origin(options.to).title}?"):
            raise OperationError("nothing was migrated")
        return run.migrate(plan, options.to, known)


def undo_migration(timeout: float, workspace: Workspace, reporter: Reporter, take_over: str = "") -> MigrateResult:
    """Start the old deployment again, as it was before the migration; as in MigrateOptions.

    Raises UsageError if nothing was migrated, OperationError if the user does not agree.
    """
    with _begun(timeout, take_over, workspace, reporter) as run:
        known = run.read()
        if known is None:
            raise UsageError("migrate --undo: nothing was migrated")
        origin, target = run.sides.origin(known.to), run.sides.of(known.to)
        if known.copied and not reporter.confirm(
            f"Return to {origin.title} with its data of {known.begun}? What has been changed in {target.title} since "
            "will not be in it."
        ):
            raise OperationError("nothing was changed")
        with run.locked():
            run.return_to_origin(known)
        return MigrateResult(origin.title)


@dataclass(frozen=True)
class _Run:
    """The steps of a migration, under its lock."""

    client: Any
    workspace: Workspace
    reporter: Reporter
    sides: Sides
    planner: Planner
    timeout: float
    take_over: str

    def locked(self) -> AbstractContextManager[None]:
        """The cluster's lock: in between neither deployment runs, and nobody may start the stack on the old data."""
        return lock.acquire_for_commands(self.client, "migrate", self.take_over)

    def read(self) -> Migration | None:
        """What an earlier migration recorded."""
        return read_migration(self.client, self.sides.compose.volume(VOLUME))

    def migrate(self, plan: MigrationPlan, to: Mode, before: Migration | None) -> MigrateResult:
        """The whole migration; `before` is what an earlier one recorded."""
        origin, target = self.sides.origin(to), self.sides.of(to)
        if plan.running or before is None:
            begun, failing = datetime.now(UTC).isoformat(timespec="seconds"), tuple(sorted(self._failing_checks()))
            known = Migration(to, self.sides.swarm.stack, begun, plan.image, failing)
        else:
            known = before
        self._write(known)
        for copy in plan.volumes:
            self.client.api.create_volume(copy.target, driver="local", labels=target.labels(copy.name))
        self._copy(plan, "copying")
        self._copy(plan, "copying what has changed in")
        if running := origin.database(self.client):
            known = replace(known, rows=database.count_rows(self.client, running))
            self._write(known)
        with self.locked():
            return self._switch(plan, known)

    def _switch(self, plan: MigrationPlan, known: Migration) -> MigrateResult:
        """From the stop of the old deployment to the end, under the cluster's lock."""
        origin, target = self.sides.origin(known.to), self.sides.of(known.to)
        try:
            began = time.monotonic()
            self.reporter.progress(f"stopping {origin.title}")
            origin.stop()
            self._copy(plan, "copying the rest of", last=True)
            known = replace(known, copied=True)
            self._write(known)
            target.start()
            downtime = time.monotonic() - began
            self._verify(known)
        except BaseException as failure:
            self._recover(known, failure)
            raise
        return replace(self._finish(known), downtime=downtime)

    def complete(self, known: Migration) -> MigrateResult:
        """Start and verify the new deployment, whose data is complete."""
        self.reporter.progress(
            f"{self.sides.of(known.to).title} has all data: finishing the migration of {known.begun}"
        )
        with self.locked():
            try:
                self.sides.of(known.to).start()
                self._verify(known)
            except OpenBalenaError as failure:
                raise OperationError(
                    f"the migration is not finished: {failure}",
                    "fix the cause and run the same command again, or return with ./open-balena.sh migrate --undo to "
                    f"the data of {known.begun}",
                ) from failure
            return self._finish(known)

    def return_to_origin(self, known: Migration) -> None:
        """Remove the new deployment, and start the old one again."""
        origin, target = self.sides.origin(known.to), self.sides.of(known.to)
        if known.copied:
            target.remove()
            self._write(replace(known, copied=False, finished=False))
        self.reporter.progress(f"starting {origin.title} again")
        origin.resume()

    def _recover(self, known: Migration, failure: BaseException) -> None:
        """Raises OperationError if the old deployment cannot be started either."""
        origin = self.sides.origin(known.to)
        self.reporter.warn(f"the migration failed: {failure or type(failure).__name__}")
        try:
            self.return_to_origin(known)
        except OpenBalenaError as error:
            raise OperationError(
                f"the migration failed: {failure}; and {origin.title} could not be started again: {error}",
                "its data is unchanged: fix the cause and run ./open-balena.sh migrate --undo",
            ) from failure

    def _finish(self, known: Migration) -> MigrateResult:
        origin, target = self.sides.origin(known.to), self.sides.of(known.to)
        running = target.database(self.client)
        # In this order: a command that was killed in between removes the rest when it is run again.
        origin.remove()
        self._write(replace(known, finished=True))
        rows = database.count_rows(self.client, running) if running else None
        return MigrateResult(target.title, None, tuple(origin.kept(self.client)), rows)

    def _copy(self, plan: MigrationPlan, what: str, *, last: bool = False) -> None:
        copier = Copier(self.client, self.sides.compose.standalone.name, plan.image, _COPY_TIMEOUT)
        for volume in plan.volumes:
            text = f"{what} {volume.source}"
            self.reporter.progress(text)
            copier.copy(volume, elapsed_reporter(text, self.reporter.progress), last=last)
        for volume in plan.volumes if last else ():
            copier.take_into_use(volume)

    def _write(self, known: Migration) -> None:
        compose = self.sides.compose
        name = compose.volume(VOLUME)
        # Creating one that exists changes nothing.
        self.client.api.create_volume(name, driver="local", labels=compose.labels(VOLUME))
        write_migration(self.client, name, known)

    def _failing_checks(self) -> frozenset[str]:
        """The acceptance checks that fail, with the reasons as progress."""
        return frozenset(failed.check.name for failed in failing_checks(self.workspace, self.reporter))

    def _verify(self, known: Migration) -> None:
        """Raises OperationError if a check fails that did not fail before, or if rows are missing."""
        running = self.sides.of(known.to).database(self.client)
        counted = database.count_rows(self.client, running) if running else {}
        if missing := [f"{name} {count}" for name, count in known.rows.items() if counted.get(name, 0) < count]:
            now = ", ".join(f"{name} {count}" for name, count in counted.items()) or "none"
            raise OperationError(f"the database has fewer rows than before: {', '.join(missing)}; now {now}")
        if more := self._failing_checks().difference(known.failing):
            raise OperationError(f"verify: {', '.join(sorted(more))}: failed, and did not before")


@contextmanager
def _begun(timeout: float, take_over: str, workspace: Workspace, reporter: Reporter) -> Iterator[_Run]:
    settings.read_configured(workspace.project)
    with migration_lock(workspace.project.directory), manager_client(workspace) as (engine, client):
        sides = read_sides(workspace, reporter, timeout)
        planner = Planner(engine, client, workspace, reporter, sides, timeout)
        yield _Run(client, workspace, reporter, sides, planner, timeout, take_over)


def _show(plan: MigrationPlan, to: Mode, sides: Sides, reporter: Reporter) -> None:
    origin, target = sides.origin(to), sides.of(to)
    reporter.progress(f"{origin.title} → {target.title}:")
    for copy in plan.volumes:
        reporter.progress(f"  {copy.source} → {copy.target}  {format_size(plan.sizes[copy.name])}")
    reporter.progress(
        f"{format_size(sum(plan.sizes.values()))} are copied while the services run. Then they are down until what has "
        f"changed meanwhile is copied and {target.title} has started, however much data there is. The volumes of "
        f"{origin.title} are kept"
    )
    if plan.replaced:
        reporter.warn(
            f"these volumes have data that an earlier migration copied, and are replaced: {', '.join(plan.replaced)}"
        )
    if plan.left:
        reporter.warn(f"not copied: {', '.join(plan.left)}")
