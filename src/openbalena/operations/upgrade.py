"""upgrade: from the release of openBalena that runs to another one, after a backup; on failure the former one runs.

Nothing changes before everything is decided, saved and agreed. Then the images are written to `.env`, and the ordinary
deploy of the mode does the rest. If it fails, `.env` gets its former images, and the same deploy starts those again,
unless the database has been changed so that the former api must not run on it: then only the backup leads back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from openbalena import settings
from openbalena.base.errors import OpenBalenaError, OperationError, UsageError
from openbalena.operations.backup import BackupOptions, check_backup, create_backup
from openbalena.operations.reporter import Reporter
from openbalena.operations.settings_lock import migration_lock
from openbalena.operations.upgrade_places import DatabaseFacts, Place, running_place
from openbalena.operations.upgrade_settings import Unfinished, finish, read_unfinished, restore_images, write_images
from openbalena.operations.workspace import Workspace
from openbalena.settings import Settings
from openbalena.swarm.api_schema import API
from openbalena.upgrade.plan import PAGE, Running, UpgradePlan, no_return, plan_upgrade
from openbalena.upgrade.releases import known_releases, setting

# Seconds for each part of the backup, as `backup create` allows by default.
_BACKUP_TIMEOUT = 21600.0


@dataclass(frozen=True)
class UpgradeOptions:
    """`version` is the release to upgrade to, None for the newest. `timeout` is in seconds, for each wait.

    `backup`: save the deployment first. `keep_database`: do not change the image of the database. `take_over` is the
    id of a stale lock.
    """

    version: str | None
    timeout: float
    backup: bool = True
    keep_database: bool = False
    take_over: str = ""


@dataclass(frozen=True)
class UpgradeResult:
    """`changed` is False if the release ran already. `backup` is the id of the set that was saved, "" without one."""

    plan: UpgradePlan
    changed: bool
    backup: str = ""


def check_upgrade(options: UpgradeOptions, workspace: Workspace, reporter: Reporter) -> UpgradePlan:
    """What the upgrade would do, and whether it may begin; changes nothing.

    Raises UsageError for a release that is not known.
    """
    with running_place(options.timeout, options.take_over, workspace, reporter) as place:
        if begun := read_unfinished(workspace.project):
            reporter.warn(_interrupted(begun))
        return _Run(options, workspace, reporter, place).plan()[1]


def upgrade(options: UpgradeOptions, workspace: Workspace, reporter: Reporter) -> UpgradeResult:
    """Upgrade, or finish an upgrade that was interrupted.

    Raises UsageError, with nothing changed, for a release that is not known and without a repository for the backup;
    OperationError with every reason against it, or with what failed: then the former release runs again, or the error
    says what to do.
    """
    with _begun(options, workspace, reporter) as run:
        if options.backup:
            _require_repository(settings.read_configured(workspace.project))
        running, plan = run.plan()
        former = run.unfinished(running, plan)
        if plan.refusals:
            raise OperationError("nothing was changed:\n  " + "\n  ".join(plan.refusals))
        if not plan.changes and not former:
            return UpgradeResult(plan, changed=False)
        _show(plan, reporter)
        if former:
            reporter.warn(_interrupted(former))
        if not reporter.confirm(f"Upgrade openBalena to {plan.version}?"):
            raise OperationError("nothing was changed")
        saved = run.save() if options.backup else ""
        executed = None if running.executed is None else list(running.executed)
        begun = Unfinished(plan.version, running.images.get(API, ""), executed, plan.one_way, backup=saved)
        write_images(workspace.project, plan, begun, former)
        # A backup of a half-upgraded deployment has the new images, and perhaps a database that was migrated.
        run.deploy(plan, former.backup if former else saved, resumed=former is not None)
        finish(workspace.project)
        return UpgradeResult(plan, changed=True, backup=saved)


@dataclass(frozen=True)
class _Run:
    """The steps of one upgrade."""

    options: UpgradeOptions
    workspace: Workspace
    reporter: Reporter
    place: Place

    def plan(self) -> tuple[Running, UpgradePlan]:
        """What runs, and what is decided about it."""
        known, values = known_releases(), settings.read_configured(self.workspace.project)
        release = known.find(self.options.version)
        images = self.place.images()
        facts = self._database() if images else DatabaseFacts()
        running = Running(
            images=images,
            configured={name: values[name] for name in map(setting, release.images)},
            exported=values.exported,
            executed=facts.executed,
            postgres=facts.postgres,
            slow_statements=bool(values.get("DB_STATEMENT_TIMEOUT")),
        )
        return running, plan_upgrade(known, release.version, running, keep_database=self.options.keep_database)

    def unfinished(self, running: Running, plan: UpgradePlan) -> Unfinished | None:
        """The upgrade that was interrupted, unless a deploy has finished it since and this one is another."""
        begun = read_unfinished(self.workspace.project)
        if begun is None or begun.version == plan.version:
            return begun
        rest = plan_upgrade(known_releases(), begun.version, running, keep_database=self.options.keep_database)
        return begun if rest.changes else None

    def save(self) -> str:
        """Save the deployment, and check that what was saved can be restored; returns the id of the set."""
        options = BackupOptions(_BACKUP_TIMEOUT, take_over=self.options.take_over)
        made = create_backup(options, self.workspace, self.reporter)
        if refusals := check_backup(made.set, options, self.workspace, self.reporter).plan.refusals:
            raise OperationError(f"nothing was changed: backup {made.set}:\n  " + "\n  ".join(refusals))
        self.reporter.progress(f"backup {made.set} is complete")
        return made.set

    def deploy(self, plan: UpgradePlan, saved: str, *, resumed: bool) -> None:
        """Deploy what is in `.env` now. Raises OperationError if that fails, with the former release running.

        `resumed`: an earlier command may have deployed a part of it, so that what runs is not known to be the former
        release.
        """
        before = self.place.version()
        try:
            self.place.start(f"upgrade to {plan.version}")
        except OpenBalenaError as failure:
            if not resumed and self.place.version() == before:
                restore_images(self.workspace.project)
                raise OperationError(f"nothing was deployed, and .env has the former images: {failure}") from failure
            self._return(plan, saved, failure)

    def _return(self, plan: UpgradePlan, saved: str, failure: OpenBalenaError) -> None:
        """Start the former release again; always raises OperationError, with what runs now."""
        self.reporter.warn(f"the upgrade failed: {failure}")
        backup = f"restore backup {saved}" if saved else "restore a backup"
        if reason := self._against_return():
            raise OperationError(
                f"the upgrade failed, and the former api must not be started again: {reason}: {failure}",
                f"fix the cause and run ./open-balena.sh upgrade again, or {backup}: see {PAGE}",
            ) from failure
        restore_images(self.workspace.project)
        self.reporter.progress("starting the former release again")
        try:
            self.place.start(f"back from {plan.version}")
        except OpenBalenaError as error:
            raise OperationError(
                f"the upgrade failed: {failure}; and the former release, whose images are in .env again, could not be "
                f"started: {error}",
                f"fix the cause and start it, or {backup}: see {PAGE}",
            ) from failure
        raise OperationError(f"the upgrade failed, and the former release runs again: {failure}") from failure

    def _against_return(self) -> str:
        """Why the former api must not run on the database, "" if it may."""
        begun = read_unfinished(self.workspace.project)
        executed = self._database().executed
        if begun is None or (executed is None and self.place.images().get(API, "") == begun.api):
            return ""  # the new api was never started
        return no_return(begun.one_way, begun.migrations, executed)

    def _database(self) -> DatabaseFacts:
        try:
            return self.place.database()
        except OpenBalenaError as error:
            self.reporter.warn(f"cannot read the database's version and migrations: {error}")
            return DatabaseFacts()


@contextmanager
def _begun(options: UpgradeOptions, workspace: Workspace, reporter: Reporter) -> Iterator[_Run]:
    settings.read_configured(workspace.project)
    with (
        migration_lock(workspace.project.directory),
        running_place(options.timeout, options.take_over, workspace, reporter) as place,
    ):
        yield _Run(options, workspace, reporter, place)


def _require_repository(values: Settings) -> None:
    if not values.get("BACKUP_REPOSITORY"):
        raise UsageError(
            "BACKUP_REPOSITORY is not set, and upgrade saves the deployment first: set it as in docs/backup.md, or "
            "upgrade without a way back with --no-backup"
        )


def _interrupted(begun: Unfinished) -> str:
    return f"an upgrade to {begun.version} was interrupted before it had finished"


def _show(plan: UpgradePlan, reporter: Reporter) -> None:
    reporter.progress(f"openBalena {plan.former or '(images of several releases)'} → {plan.version}:")
    for change in plan.changes:
        reporter.progress(f"  {change.service}: {change.before.partition('@')[0]} → {change.after.partition('@')[0]}")
    for finding in plan.findings:
        reporter.warn(finding)
    for step in plan.one_way:
        reporter.warn(f"no way back: {step}")
