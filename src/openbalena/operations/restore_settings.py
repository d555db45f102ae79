"""The settings and the PKI of a backup, written to a machine that has none: from the repository and its password only.

Everything is written under other names first and renamed, `.env` last: until then the machine counts as one without
settings, also if there were some that are replaced, and the same command begins again.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from openbalena import settings
from openbalena.backup import repository as repositories
from openbalena.backup import restore_scripts, saving
from openbalena.backup.machine import Containers
from openbalena.backup.saving import Step
from openbalena.base.errors import OperationError
from openbalena.base.files import private_directory, write_atomic
from openbalena.base.project import Project
from openbalena.compose import dotenv
from openbalena.machine.deployment import compose_project_name
from openbalena.operations.built_images import ready_backup_image
from openbalena.operations.engines import default_engine
from openbalena.operations.reporter import Reporter
from openbalena.operations.settings_lock import RESTORING, exclusive_lock
from openbalena.operations.workspace import Workspace
from openbalena.pki import archive
from openbalena.settings import envfile
from openbalena.swarm import encrypted_read

# Settings that say where the backups are: those of this machine apply, since with them the backup was found.
_KEPT = "BACKUP_"


def restore_settings(
    backup: str, timeout: float, workspace: Workspace, reporter: Reporter, *, replace: bool
) -> tuple[str, ...]:
    """The names of the files that were written: none if there are settings here, unless `replace`.

    Files that are replaced are kept under another name. Raises UsageError for wrong settings and without a repository,
    OperationError if there is no such backup, or if there is a different PKI here and not `replace`.
    """
    project = workspace.project
    here = settings.read(project)
    if here.get("DNS_TLD") and not replace:
        return ()
    with exclusive_lock(project.directory):
        packed, domain = _fetch(backup, timeout, here, workspace, reporter.progress)
        half = project.directory / RESTORING
        try:
            archive.unpack_archive(packed, private_directory(half))
            return _place(Project(half, project.root), project, domain, replace=replace)
        except OSError as error:
            raise OperationError(f"{error.filename}: {error.strerror}: fix this and rerun the command") from None
        finally:
            shutil.rmtree(half, ignore_errors=True)


def _fetch(
    backup: str, timeout: float, here: settings.Settings, workspace: Workspace, report: Callable[[str], None]
) -> tuple[bytes, str]:
    """The archive, by a container on this engine, and the domain of the backup."""
    repository = repositories.configured(here)
    engine = default_engine(workspace.lab)
    recipient = encrypted_read.new_recipient()
    with engine.client() as client:
        image = ready_backup_image(engine, here, workspace, report)
        owner = compose_project_name(workspace.project, here)
        runner = Containers(client, owner, image, timeout, report, repository, {})
        found = saving.read_repository(runner, repository.address).find(backup)
        if saving.SETTINGS not in found.parts:
            raise OperationError(f"backup {found.id} has no settings: choose another backup")
        report(f"reading the settings of {found.domain} in backup {found.id}")
        script = restore_scripts.dump_settings(found.parts[saving.SETTINGS]) + recipient.script("/tmp/settings")  # noqa: S108
        outcome = runner.run(Step("settings", script, reading="reading the settings"))
        return recipient.content(saving.require_result(outcome, "the settings cannot be read")), found.domain


def _place(unpacked: Project, project: Project, domain: str, *, replace: bool) -> tuple[str, ...]:
    """Move the unpacked files into place; returns their names."""
    values = settings.read_unchecked(unpacked)
    file = dotenv.read_file(unpacked.env_file)
    if file.values.get("DNS_TLD") != domain:
        raise OperationError(
            f"the settings in the backup are those of {file.values.get('DNS_TLD') or 'no domain'}, but the backup is "
            f"of {domain}: choose another backup"
        )
    if Path(values["PKI_DIR"]) != unpacked.pki:
        raise OperationError(
            f"the settings in the backup have PKI_DIR={values['PKI_DIR']}, which this command does not write: restore "
            "them yourself as in docs/backup.md"
        )
    _require_replaceable(unpacked.pki, project.pki, replace=replace)
    mine = dotenv.read_file(project.env_file).values if project.env_file.exists() else {}
    kept = {name: value for name, value in mine.items() if name.startswith(_KEPT)}
    suffix = f".{datetime.now(UTC):%Y%m%d-%H%M%S}"
    pki, override = (project.pki, unpacked.pki), (project.override_file, unpacked.override_file)
    written = []
    if project.env_file.exists():
        write_atomic(project.env_file.with_name(f".env{suffix}"), project.env_file.read_bytes(), 0o600)
        # Older settings must not be used with the new keys, not even after a kill.
        write_atomic(project.env_file, envfile.update(dotenv.parse("", project.env_file), kept), 0o600)
    for target, source in (pki, override):
        # With --replace-settings, one that the backup lacks would change the deployment that it is of.
        if target.exists() and (replace or source.exists()):
            target.rename(target.with_name(target.name + suffix))
        if source.exists():
            source.rename(target)
            written.append(target.name)
    write_atomic(project.env_file, envfile.update(file, kept), 0o600)
    return (*written, ".env")


def _require_replaceable(new: Path, old: Path, *, replace: bool) -> None:
    """Raise OperationError if there are other keys or certificates than those of the backup, unless `replace`."""
    if replace or not old.exists():
        return
    for path in sorted(old.iterdir()):
        other = new / path.name
        if path.is_file() and not (other.is_file() and other.read_bytes() == path.read_bytes()):
            raise OperationError(
                f"{path} is not the one in the backup: move {old} elsewhere, or add --replace-settings, which keeps it "
                "under another name"
            )
