"""Putting volumes on an NFS server, on one machine and in a cluster alike: the question, and the files."""

from collections.abc import Collection, Mapping
from pathlib import Path

from openbalena.base.errors import OperationError
from openbalena.base.files import write_atomic
from openbalena.base.project import Project
from openbalena.operations.reporter import Reporter
from openbalena.settings.plan import plan


def confirm_database_on_nfs(volumes: Collection[str], reporter: Reporter) -> None:
    """Ask before the database is put on NFS; raises OperationError unless the user agrees."""
    if "db-data" in volumes and not reporter.confirm(
        "The database is slower on NFS, and not safer: two servers on one directory corrupt it, so it remains pinned "
        "to one machine. Put db-data there? (NFS_VOLUMES selects the volumes)"
    ):
        raise OperationError("nothing was changed: name the volumes for NFS with --nfs-volumes")


def write_nfs_settings(project: Project, file: Path, text: str, settings: Mapping[str, str]) -> None:
    """Write `text`, which puts volumes on the server, to `file`, and `settings` to `.env`.

    Raises OperationError if one of them cannot be written.
    """
    try:
        write_atomic(file, text)
        write_atomic(project.env_file.resolve(), plan(project, settings, {}).text, 0o600)
    except OSError as error:
        raise OperationError(f"{error.filename}: cannot be written: {error.strerror}") from None
