"""Fetch settings and PKI of a deployment that runs, so that this machine can administer it too."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from openbalena import settings
from openbalena.base.errors import OperationError
from openbalena.base.project import Project
from openbalena.operations import settings_sync
from openbalena.operations.manager import manager_client
from openbalena.operations.reporter import Reporter
from openbalena.operations.settings_lock import exclusive_lock
from openbalena.operations.workspace import Workspace
from openbalena.swarm import lock


@dataclass(frozen=True)
class FetchSettingsOptions:
    """`take_over` is the id of a stale deploy lock."""

    take_over: str = ""


@dataclass(frozen=True)
class FetchSettingsResult:
    """The names of the files that were written: none if the user did not agree to replace those that exist."""

    files: tuple[str, ...]


def fetch_settings(options: FetchSettingsOptions, workspace: Workspace, reporter: Reporter) -> FetchSettingsResult:
    """Replace settings and PKI by those in the cluster; existing files are kept under another name.

    Raises OperationError if the cluster has none, or a file cannot be written.
    """
    project = workspace.project
    with exclusive_lock(project.directory):
        archive = _download(options, workspace, reporter)
        existing = [path for path in (project.env_file, project.pki, project.override_file) if path.exists()]
        suffix = f".{datetime.now(UTC):%Y%m%d-%H%M%S}"
        names = ", ".join(map(str, existing))
        if existing and not reporter.confirm(f"Replace {names}? (The existing ones are kept as *{suffix}.)"):
            return FetchSettingsResult(())
        return FetchSettingsResult(_restore(archive, project, existing, suffix))


def _download(options: FetchSettingsOptions, workspace: Workspace, reporter: Reporter) -> bytes:
    stack = settings.read_unchecked(workspace.project)["STACK_NAME"]
    purpose = "config --from-cluster"
    # Of two one-shot tasks with the same name the later one replaces the other; and a deploy removes old settings.
    with manager_client(workspace) as (engine, client), lock.acquire(client, purpose, options.take_over):
        reporter.progress(f"fetching the settings of {stack} from the swarm …")
        return settings_sync.download(engine, client, stack)


def _restore(archive: bytes, project: Project, existing: list[Path], suffix: str) -> tuple[str, ...]:
    try:
        for path in existing:
            path.rename(path.with_name(path.name + suffix))
        return tuple(settings_sync.restore(archive, project))
    except OSError as error:
        raise OperationError(f"{error.filename}: {error.strerror}: fix this and rerun the command") from None
