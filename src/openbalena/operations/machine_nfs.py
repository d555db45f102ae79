"""Put one machine's volumes on an NFS server, after the machine has shown that it can use the export."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from openbalena.base.errors import OperationError
from openbalena.machine import build, nfs_volumes
from openbalena.machine.deployment import Standalone
from openbalena.operations.machine import ensure_lab_base, load_machine
from openbalena.operations.nfs_settings import confirm_database_on_nfs, write_nfs_settings
from openbalena.operations.reporter import Reporter
from openbalena.operations.workspace import Workspace
from openbalena.storage import nfs

# Seconds: mount(2) gives up on a server that does not answer after 180 (measured).
_TIMEOUT = 240.0


@dataclass(frozen=True)
class NfsOptions:
    """`settings` are those of the export (NFS_HOST, …); they take precedence over `.env`."""

    settings: Mapping[str, str]


@dataclass(frozen=True)
class NfsResult:
    """`files` were written, for `volumes`."""

    files: tuple[Path, ...]
    volumes: tuple[str, ...]


def set_up_nfs(options: NfsOptions, workspace: Workspace, reporter: Reporter) -> NfsResult:
    """Check the export, then write the settings; nothing is written before. Needs the settings lock.

    Raises UsageError for wrong settings, OperationError if the machine cannot use the export, the data of an existing
    volume would be hidden, or the user does not agree.
    """
    standalone = load_machine(workspace, options.settings, nfs=False)
    volumes = nfs.nfs_volumes(standalone.settings, nfs_volumes.declared_volumes(standalone))
    confirm_database_on_nfs(volumes, reporter)
    nfs_volumes.require_unused_volumes(standalone, nfs_volumes.volumes_on_server(standalone, volumes))
    _check_export(standalone, volumes, reporter)
    return _write(standalone, options, volumes, reporter)


def _check_export(standalone: Standalone, volumes: tuple[str, ...], reporter: Reporter) -> None:
    values = standalone.settings
    ensure_lab_base(standalone)
    image = build.any_image(standalone, reporter.progress)
    reporter.progress(f"mounting {values['NFS_HOST']}:{values['NFS_PATH']} …")
    if why := nfs.explain_result(nfs_volumes.check_server(standalone, image, volumes, _TIMEOUT)):
        raise OperationError(f"this machine cannot use the export; nothing was changed: {why}")


def _write(standalone: Standalone, options: NfsOptions, volumes: tuple[str, ...], reporter: Reporter) -> NfsResult:
    project, answers = standalone.project, dict(options.settings)
    if project.directory.resolve() == project.root.resolve():
        answers["COMPOSE_FILE"] = nfs_volumes.compose_file(project)
        if os.environ.get("COMPOSE_FILE"):
            reporter.warn(
                "COMPOSE_FILE is set in the environment, which plain `docker compose` reads instead of .env's: add "
                f"{project.nfs_file.name} to it"
            )
    write_nfs_settings(project, project.nfs_file, nfs_volumes.override_text(standalone.settings, volumes), answers)
    return NfsResult((project.env_file, project.nfs_file), volumes)
