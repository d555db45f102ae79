"""The settings and the PKI of a backup, written to a machine that has none: from the repository and its password only.

Everything is written under other names first and renamed, `.env` last: until then the machine counts as one without
settings, also if there were some that are replaced, and the same command begins again.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from openbalena import settings
from openbalena.backup import clone as clones
from openbalena.backup import repository as repositories
from openbalena.backup import restore_scripts, saving
from openbalena.backup.machine import Containers
from openbalena.backup.saving import Step
from openbalena.base.errors import OperationError, UsageError
from openbalena.base.files import private_directory, write_atomic
from openbalena.base.project import Project
from openbalena.compose import dotenv
from openbalena.machine.deployment import compose_project_name
from openbalena.operations.built_images import ready_backup_image
from openbalena.operations.engines import default_engine
from openbalena.operations.reporter import Reporter
from openbalena.operations.settings_lock import RESTORING, exclusive_lock
from openbalena.operations.workspace import Workspace
from openbalena.pki import archive, store
from openbalena.settings import envfile
from openbalena.settings.plan import SettingsPlan, plan
from openbalena.swarm import encrypted_read

# Settings that say where the backups are: those of this machine apply, since with them the backup was found.
_KEPT = "BACKUP_"


def restore_settings(
    backup: str, timeout: float, workspace: Workspace, reporter: Reporter, *, replace: bool, clone: str = ""
) -> tuple[str, ...]:
    """The names of the files that were written: none if there are settings here, unless `replace`.

    With the domain `clone`, the settings are made for it, and tokens and PKI are new. Files that are replaced are kept
    under another name. Raises UsageError for wrong settings and without a repository, OperationError if there is no
    such backup, if there is a different PKI here and not `replace`, or if the clone would use what the original uses.
    """
    project = workspace.project
    here, half = settings.read(project), project.directory / RESTORING
    if (domain := here.get("DNS_TLD")) and not replace:
        if clone and domain != clone:
            raise OperationError(
                f"{project.env_file}: has the settings of {domain}: make the clone {clone} in a directory without"
            )
        if half.exists():
            # A run that was killed after it had written the settings left it: of a clone, with the original's CA key.
            with exclusive_lock(project.directory):
                pass  # it removes what killed commands left
        return ()
    with exclusive_lock(project.directory):
        packed, domain = _fetch(backup, timeout, here, workspace, reporter.progress)
        try:
            archive.unpack_archive(packed, private_directory(half))
            unpacked = Project(half, project.root)
            file = _saved_settings(unpacked, domain)
            if clone:
                return _place_clone(unpacked, project, file, clone, reporter)
            return _place(unpacked, project, file, replace=replace)
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


def _saved_settings(unpacked: Project, domain: str) -> dotenv.Dotenv:
    """The settings in the backup. Raises OperationError unless they are those of `domain`."""
    file = dotenv.read_file(unpacked.env_file)
    if file.values.get("DNS_TLD") != domain:
        raise OperationError(
            f"the settings in the backup are those of {file.values.get('DNS_TLD') or 'no domain'}, but the backup is "
            f"of {domain}: choose another backup"
        )
    return file


def _place(unpacked: Project, project: Project, file: dotenv.Dotenv, *, replace: bool) -> tuple[str, ...]:
    """Move the unpacked files into place; returns their names."""
    values = settings.read_unchecked(unpacked)
    if Path(values["PKI_DIR"]) != unpacked.pki:
        raise OperationError(
            f"the settings in the backup have PKI_DIR={values['PKI_DIR']}, which this command does not write: restore "
            "them yourself as in docs/backup.md"
        )
    _require_replaceable(unpacked.pki, project.pki, replace=replace)
    kept = {name: value for name, value in _settings_here(project).items() if name.startswith(_KEPT)}
    pki, override = (project.pki, unpacked.pki), (project.override_file, unpacked.override_file)
    return _move([pki, override], project, kept, envfile.update(file, kept), replace=replace)


def _place_clone(
    unpacked: Project, project: Project, file: dotenv.Dotenv, domain: str, reporter: Reporter
) -> tuple[str, ...]:
    """Make the settings of the clone `domain` from `file`, and its tokens and PKI; returns the names of the files."""
    original = file.values["DNS_TLD"]
    if original == domain:
        raise OperationError(f"the backup is of {domain} itself: restore it without --as")
    here = _settings_here(project)
    made = clones.clone_settings(file.values, here, domain)
    write_atomic(unpacked.env_file, envfile.update(file, made.changes), 0o600)
    planned = plan(unpacked, {}, {})
    if planned.settings["DNS_TLD"] != domain:
        raise UsageError(f"{planned.settings.sources['DNS_TLD']}: DNS_TLD is not {domain}: unset it")
    for warning in made.warnings:
        reporter.warn(warning)
    override = unpacked.override_file
    if override.exists() and clones.names_domain(override.read_text(), original):
        reporter.warn(f"{project.override_file} names {original}: change it if the clone should not use that")
    directory = Path(settings.read_unchecked(project, {"DNS_TLD": domain})["PKI_DIR"])
    _make_pki(directory, domain, planned)
    return (directory.name, *_move([(project.override_file, override)], project, here, planned.text))


def _make_pki(directory: Path, domain: str, planned: SettingsPlan) -> None:
    """A CA and keys for the clone, with the certificate that is in the settings here, if any."""
    certificate, key, authority = store.custom_certificate(planned.settings)
    if certificate:
        from openbalena.pki import custom_certificate  # it takes 0.1 s

        custom_certificate.validate(certificate, key, authority, domain)
    store.ensure_files(directory, domain)
    if certificate:
        store.use_certificate(directory, certificate, key)


def _settings_here(project: Project) -> dict[str, str]:
    return dotenv.read_file(project.env_file).values if project.env_file.exists() else {}


def _move(
    files: list[tuple[Path, Path]], project: Project, kept: Mapping[str, str], text: str, *, replace: bool = False
) -> tuple[str, ...]:
    """Move each target and source into place, and write `text` as `.env`; returns the names of what was written.

    Until then `.env` has only what is `kept`, without a domain.
    """
    suffix = f".{datetime.now(UTC):%Y%m%d-%H%M%S}"
    written = []
    if project.env_file.exists():
        write_atomic(project.env_file.with_name(f".env{suffix}"), project.env_file.read_bytes(), 0o600)
        # Older settings must not be used with the new keys, not even after a kill.
        write_atomic(project.env_file, envfile.update(dotenv.parse("", project.env_file), kept), 0o600)
    for target, source in files:
        # With --replace-settings, one that the backup lacks would change the deployment that it is of.
        if target.exists() and (replace or source.exists()):
            target.rename(target.with_name(target.name + suffix))
        if source.exists():
            source.rename(target)
            written.append(target.name)
    write_atomic(project.env_file, text, 0o600)
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
