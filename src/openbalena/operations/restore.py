"""restore: make a deployment again from a backup, of either mode onto either mode.

Nothing is changed before everything is checked. The volumes are filled first, then the database, in one transaction,
by the deploy itself once its service runs; so an interrupted restore is completed by the same command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from openbalena.backup import clone_database, restore_scripts, restoring, saving
from openbalena.backup import repository as repositories
from openbalena.backup.clone_database import UnjoinedDevice
from openbalena.backup.machine import Containers
from openbalena.backup.manifest import Manifest
from openbalena.backup.restore import RestoreOptions, RestorePlan, plan_restore
from openbalena.backup.restoring import Found
from openbalena.backup.saving import Step
from openbalena.base.errors import OperationError, UsageError
from openbalena.docker.engine import Engine
from openbalena.machine.deployment import Standalone
from openbalena.operations import deployment as deployments
from openbalena.operations.backup import jobs_at_repository
from openbalena.operations.built_images import backup_image, ready_backup_image
from openbalena.operations.deploy import DeployOptions, deploy
from openbalena.operations.deploy_checks import DeployChecks, other_mode_findings, require_none_fatal
from openbalena.operations.deployment import Deployment
from openbalena.operations.engines import default_engine
from openbalena.operations.machine import load_machine
from openbalena.operations.manager import manager_client
from openbalena.operations.reporter import Reporter
from openbalena.operations.restore_places import Destination, Machine, Stack, by_node, inspect, newer, require_authority
from openbalena.operations.restore_settings import restore_settings
from openbalena.operations.settings_lock import exclusive_lock
from openbalena.operations.start_machine import StartOptions, start_machine
from openbalena.operations.verify import failing_checks, public_addresses
from openbalena.operations.workspace import Workspace
from openbalena.settings import Settings, read_configured
from openbalena.settings.rules import malformed
from openbalena.storage import nfs
from openbalena.swarm import lock
from openbalena.swarm.membership import is_manager

# Seconds for the services of a stack to converge, as `swarm-up` waits by default.
_START_TIMEOUT = 900.0
_OTHER_MODE = {
    "swarm": "Backup {set} is of a deployment on one machine. Restore it onto this cluster?",
    "compose": "Backup {set} is of a cluster, but this machine is not a manager of one. Restore it onto it alone?",
}


@dataclass(frozen=True)
class RestoreRequest:
    """`backup` is its id, a beginning of it, or `latest`. `timeout` is in seconds, for each part.

    `overwrite`: delete the data that the deployment has. `replace_settings`: use those of the backup although there
    are others, `only_settings`: restore nothing else. `machine`: onto this machine alone, although its engine is a
    manager of a swarm. `take_over` is the id of a stale lock. `clone` is the domain under which it is restored, ""
    for its own. `verify`: check the deployment over its public ports at the end.
    """

    backup: str
    timeout: float
    overwrite: bool = False
    replace_settings: bool = False
    only_settings: bool = False
    machine: bool = False
    take_over: str = ""
    clone: str = ""
    verify: bool = True


@dataclass(frozen=True)
class RestoreResult:
    """`files` are the settings that were written. `manifest` is None if only they were restored.

    `rows` is the number of restored rows, None if a former run has restored them. `unjoined` are the devices that are
    not connected to a clone. `failing` are the names of the checks that failed, None if it was not verified.
    """

    settings: Settings
    files: tuple[str, ...]
    manifest: Manifest | None = None
    rows: int | None = None
    unjoined: tuple[UnjoinedDevice, ...] = ()
    failing: tuple[str, ...] | None = None


@dataclass(frozen=True)
class _Restoration:
    """One restore; `rows` and `unjoined` are filled by it.

    `agreed` are the volumes, by name and node, that may be emptied.
    """

    request: RestoreRequest
    workspace: Workspace
    reporter: Reporter
    rows: list[int | None] = field(default_factory=list)
    unjoined: list[UnjoinedDevice] = field(default_factory=list)
    agreed: set[tuple[str, str]] = field(default_factory=set)

    def examine(self, here: Destination, name: str) -> tuple[Manifest, Found, RestorePlan]:
        """Read the backup `name` and what exists here. Raises OperationError with every reason against a restore."""
        known = saving.read_repository(here.runner, here.settings["BACKUP_REPOSITORY"])
        overwrite, clone = self.request.overwrite, self.request.clone
        backup = known.find(name, "" if clone else here.settings["DNS_TLD"])
        manifest = saving.read_manifest(here.runner, backup)
        require_authority(here, manifest, clone)
        found = inspect(here, backup, clone)
        if text := newer(here, found, manifest):
            self.reporter.warn(
                f"the database here has what backup {manifest.set} lacks: {text}. A restore loses it; a device that it "
                "does not know is refused until it joins again"
            )
        target = restoring.target(found, manifest, here.settings, here.api_image, overwrite=overwrite, clone=clone)
        plan = plan_restore(backup, manifest, target, RestoreOptions(overwrite, clone))
        if plan.refusals:
            raise OperationError("nothing was restored:\n  " + "\n  ".join(plan.refusals))
        return manifest, found, plan

    def judge(self, here: Destination) -> tuple[Manifest, list[str]]:
        """Examine and warn; returns the manifest and the questions for `ask`, which needs no lock."""
        manifest, found, plan = self.examine(here, self.request.backup)
        for warning in plan.warnings:
            self.reporter.warn(warning)
        questions = []
        if manifest.mode != here.mode:
            questions.append(_OTHER_MODE[here.mode].format(set=manifest.set))
        if used := found.used(restoring.origin(manifest.set, self.request.clone)):
            questions.append(f"Delete all data in {restoring.names(used)}, and restore backup {manifest.set} there?")
        self.agreed.update((place.volume, place.node) for place in used)
        return manifest, questions

    def ask(self, questions: list[str]) -> None:
        """Raise OperationError unless the user agrees. Everything is examined again afterwards."""
        if not all(map(self.reporter.confirm, questions)):
            raise OperationError("nothing was restored")

    @contextmanager
    def restored(self, backup: str, destination: AbstractContextManager[Destination]) -> Iterator[Callable[[], None]]:
        """Empty and fill the volumes from `backup`; yields what fills the database, which must run then.

        The repository can be reached until the database is filled, not while the services start.
        """
        with ExitStack() as reached:
            here = reached.enter_context(destination)
            manifest, found, plan = self.examine(here, backup)
            used = found.used(restoring.origin(manifest.set, self.request.clone))
            # Others may have had the lock since the question.
            if other := [place for place in used if (place.volume, place.node) not in self.agreed]:
                raise OperationError(
                    f"nothing was restored: meanwhile there is data in {restoring.names(other)}: run the command "
                    "again, which asks before that is deleted"
                )
            here.prepare(found.places if found.database != restore_scripts.RESTORED else ())
            for places in by_node(found.marked(used)).values():
                self._run(here, restoring.forgetting(places))
            for places in by_node(used).values():
                self._run(here, restoring.emptying(places))
            for place in found.places:
                if place.volume in plan.steps:
                    lines = self._run(here, restoring.filling(place, manifest, self.request.clone))
                    restoring.require_filled(lines, place, manifest)

            def fill() -> None:
                self._fill_database(here, manifest)
                reached.close()

            yield fill

    def _fill_database(self, here: Destination, manifest: Manifest) -> None:
        clone, reached = self.request.clone, here.reach_database()
        step = restoring.database(here.settings, manifest, *reached, clone)
        self.rows.append(restoring.restored_rows(self._run(here, step)))
        if clone:
            lines = self._run(here, restoring.unjoined(here.settings, *reached))
            self.unjoined.extend(clone_database.unjoined_devices(lines))

    def _run(self, here: Destination, step: Step) -> tuple[str, ...]:
        self.reporter.progress(step.activity)
        return tuple(saving.require_result(here.runner.run(step), f"{step.activity} failed"))


def restore(request: RestoreRequest, workspace: Workspace, reporter: Reporter) -> RestoreResult:
    """Restore settings where there are none, then the data, start the services, and verify them.

    An engine that is a manager gets a stack, unless `machine`; every other one a deployment on its machine. Raises
    UsageError without a repository in the settings, and OperationError, before anything of the deployment is changed,
    with all reasons against it; afterwards with what failed.
    """
    _require_clonable(request)
    files = restore_settings(
        request.backup,
        request.timeout,
        workspace,
        reporter,
        replace=request.replace_settings,
        clone=request.clone,
    )
    if request.only_settings:
        return RestoreResult(read_configured(workspace.project), files)
    restoration = _Restoration(request, workspace, reporter)
    engine = default_engine(workspace.lab)
    with engine.client() as client:
        manager = not request.machine and is_manager(client, engine)
    values, manifest = (_restore_stack if manager else _restore_machine)(restoration)
    failing = _failing(values, workspace, reporter) if request.verify else None
    rows = next(iter(restoration.rows), None)
    return RestoreResult(values, files, manifest, rows, tuple(restoration.unjoined), failing)


def _failing(values: Settings, workspace: Workspace, reporter: Reporter) -> tuple[str, ...] | None:
    """The names of the checks that fail; None if the domain leads nowhere yet, as after the loss of all machines."""
    if public_addresses(workspace, host := f"api.{values['DNS_TLD']}"):
        return tuple(failed.check.name for failed in failing_checks(workspace, reporter))
    reporter.warn(
        f"not verified, since {host} has no address: point the domain's DNS records to this deployment, then run "
        "./open-balena.sh verify"
    )
    return None


def _require_clonable(request: RestoreRequest) -> None:
    """Raise UsageError for a domain that is none, and for what would delete or replace another deployment's."""
    if not request.clone:
        return
    if problem := malformed("DNS_TLD", request.clone):
        raise UsageError(f"--as {request.clone}: {problem}")
    if request.overwrite or request.replace_settings:
        given = "--overwrite" if request.overwrite else "--replace-settings"
        raise UsageError(f"--as with {given}: a clone deletes no data and replaces no settings: leave out {given}")


def _restore_stack(restoration: _Restoration) -> tuple[Settings, Manifest]:
    request, workspace = restoration.request, restoration.workspace
    deployment = deployments.load(workspace.project, lab=workspace.lab)
    on_nfs = nfs.nfs_volumes(deployment.settings, deployment.compiled.stateful)
    with (
        manager_client(workspace) as (engine, client),
        lock.acquire(client, "restore", request.take_over),
    ):
        # Before the volumes are inspected: that creates those that a node does not have, and a node that has the
        # stack's volume does not count as one where a Compose deployment would be left behind.
        left = other_mode_findings(engine, client, deployment)
        require_none_fatal(left, restoration.reporter, "nothing was restored")
        with _stack(restoration, engine, client, deployment, on_nfs) as here:
            manifest, questions = restoration.judge(here)
    restoration.ask(questions)

    @contextmanager
    def restored(checks: DeployChecks) -> Iterator[Callable[[], None]]:
        stack = _stack(restoration, checks.engine, checks.client, checks.deployment, checks.nfs_volumes)
        with restoration.restored(manifest.set, stack) as fill:
            yield fill

    message = f"restored from backup {manifest.set}"
    options = DeployOptions(_START_TIMEOUT, take_over=request.take_over, message=message, restoring=restored)
    return deploy(options, workspace, restoration.reporter).settings, manifest


@contextmanager
def _stack(
    restoration: _Restoration, engine: Engine, client: Any, deployment: Deployment, on_nfs: tuple[str, ...]
) -> Iterator[Stack]:
    """The stack, with jobs that reach the repository."""
    values, report = deployment.settings, restoration.reporter.progress
    image = backup_image(values, restoration.workspace, engine)
    with jobs_at_repository(engine, client, values, image, restoration.request.timeout, report) as (_, jobs):
        yield Stack(client, deployment, on_nfs, jobs)


def _restore_machine(restoration: _Restoration) -> tuple[Settings, Manifest]:
    workspace = restoration.workspace
    with exclusive_lock(workspace.project.directory):
        standalone = load_machine(workspace)
        with _machine(restoration, standalone) as here:
            manifest, questions = restoration.judge(here)
    restoration.ask(questions)

    def restored(built: Standalone) -> AbstractContextManager[Callable[[], None]]:
        return restoration.restored(manifest.set, _machine(restoration, built))

    options = StartOptions(restoring=restored)
    return start_machine(options, workspace, restoration.reporter).settings, manifest


@contextmanager
def _machine(restoration: _Restoration, standalone: Standalone) -> Iterator[Machine]:
    """The deployment, with containers that reach the repository."""
    report = restoration.reporter.progress
    repository = repositories.configured(standalone.settings)
    image = ready_backup_image(standalone.engine, standalone.settings, restoration.workspace, report)
    with standalone.engine.client() as client:
        runner = Containers(client, standalone.name, image, restoration.request.timeout, report, repository, {})
        yield Machine(client, standalone, runner)
