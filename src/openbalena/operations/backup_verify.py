"""backup verify: restore a backup for a trial, and compare it with what its manifest says."""

from __future__ import annotations

from dataclasses import dataclass

from openbalena.backup import saving, trial
from openbalena.backup.manifest import Manifest
from openbalena.backup.restore import RestoreOptions, Target, plan_restore
from openbalena.backup.saving import Step
from openbalena.backup.trial import Trial
from openbalena.operations.backup import BackupOptions, connected
from openbalena.operations.reporter import Reporter
from openbalena.operations.workspace import Workspace


@dataclass(frozen=True)
class BackupVerdict:
    """What a trial restore found; `problems` are why the backup is not what its manifest says."""

    manifest: Manifest
    trial: Trial
    problems: tuple[str, ...]


def verify_backup(
    name: str, percent: int, options: BackupOptions, workspace: Workspace, reporter: Reporter
) -> BackupVerdict:
    """Restore a backup (an id, a beginning of it, or `latest`) in one container, and read `percent` of all data.

    Nothing of the deployment is used or changed, and the container is removed, with all that was restored. Raises
    OperationError if it cannot be restored, or if there is no such backup.
    """
    with connected("backup verify", options, workspace, reporter.progress) as here:
        found = saving.read_repository(here.runner, here.values["BACKUP_REPOSITORY"]).find(name, here.values["DNS_TLD"])
        manifest = saving.read_manifest(here.runner, found)
        # It is restored onto nothing: what remains is whether the set is one.
        if refusals := plan_restore(found, manifest, Target(), RestoreOptions()).refusals:
            return BackupVerdict(manifest, Trial(), refusals)
        step = Step("verify", trial.script(manifest, percent), reading=f"restoring {found.id} for a trial")
        reporter.progress(step.activity)
        lines = saving.require_result(here.runner.run(step), f"backup {found.id} cannot be restored")
    result = trial.read_trial(lines)
    return BackupVerdict(manifest, result, tuple(trial.problems(manifest, result)))
