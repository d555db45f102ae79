"""backup prune: remove the backups that no rule keeps, whole sets only."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import UTC, datetime

from openbalena.backup import cluster as in_cluster
from openbalena.backup import saving, scripts
from openbalena.backup.retention import Keep, PrunePlan, plan_prune
from openbalena.backup.saving import Step
from openbalena.base.errors import OperationError, UsageError
from openbalena.operations.backup import BackupOptions, Deployment, connected
from openbalena.operations.reporter import Reporter
from openbalena.operations.workspace import Workspace

# At most so many backups are named in the question.
_SHOWN = 20


def prune_backups(
    keep: Keep, options: BackupOptions, workspace: Workspace, reporter: Reporter, *, dry_run: bool = False
) -> PrunePlan:
    """Remove the sets of this domain that no rule of `keep` keeps, after asking, and the data that only they need.

    Raises UsageError without a rule, OperationError if the user does not agree or the repository is in use by somebody
    else.
    """
    now = datetime.now(UTC)
    with _at_repository(options, workspace, reporter) as here:
        if keep == Keep():
            raise UsageError(
                "no rule says which backups to keep: add --keep-last, --keep-daily, --keep-weekly or --keep-monthly"
            )
        plan = _plan(here, keep, now)
    if plan.left:
        reporter.warn(f"cannot be restored, and kept for now: {', '.join(plan.left)}")
    if dry_run:
        return plan
    # Others can use the cluster until the user has answered.
    _confirm(plan, reporter)
    with _at_repository(options, workspace, reporter) as here:
        if _plan(here, keep, now).removed != plan.removed:
            raise OperationError("other backups have been made or removed meanwhile: run the command again")
        _remove(plan, here, reporter)
    return plan


def _at_repository(
    options: BackupOptions, workspace: Workspace, reporter: Reporter
) -> AbstractContextManager[Deployment]:
    return connected("backup prune", options, workspace, reporter.progress, in_cluster.jobs_at_directory)


def _plan(here: Deployment, keep: Keep, now: datetime) -> PrunePlan:
    found = saving.read_repository(here.runner, here.values["BACKUP_REPOSITORY"])
    return plan_prune(found, keep, here.values["DNS_TLD"], now)


def _confirm(plan: PrunePlan, reporter: Reporter) -> None:
    if not plan.removed:
        return
    shown = [f"{each.id} ({each.reason})" for each in plan.removed[:_SHOWN]]
    more = [f"and {len(plan.removed) - _SHOWN} more"] if len(plan.removed) > _SHOWN else []
    question = f"Remove {len(plan.removed)} backups, and keep {len(plan.kept)}: {', '.join([*shown, *more])}?"
    if not reporter.confirm(question):
        raise OperationError("no backup was removed")


def _remove(plan: PrunePlan, here: Deployment, reporter: Reporter) -> None:
    manifests = [each.manifest for each in plan.removed if each.manifest]
    others = [snapshot for each in plan.removed for snapshot in each.snapshots]
    step = Step("prune", scripts.remove_snapshots(manifests, others), reading="removing what no backup needs")
    reporter.progress(step.activity)
    outcome = here.runner.run(step)
    what = "the backups could not be removed completely"
    if "already locked" in " ".join(outcome.lines):
        what += " (a lock of a killed command expires after 30 minutes)"
    saving.require_result(outcome, what)
