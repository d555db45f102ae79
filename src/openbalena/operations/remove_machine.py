"""Remove one machine's deployment: its containers and networks, or its volumes too."""

from dataclasses import dataclass
from pathlib import Path

from openbalena.base.errors import OperationError
from openbalena.machine import orphans
from openbalena.operations.machine import load_machine
from openbalena.operations.machine_services import run_compose
from openbalena.operations.reporter import Reporter
from openbalena.operations.workspace import Workspace


@dataclass(frozen=True)
class DestroyResult:
    """`removed` describes what was removed; `kept` are the files that were not."""

    removed: str
    kept: tuple[Path, ...]


def remove_containers(workspace: Workspace, reporter: Reporter) -> str:
    """Remove containers and networks and keep the volumes; returns the Compose project's name."""
    standalone = load_machine(workspace)
    run_compose(standalone, reporter, "--profile", "*", "down", "--remove-orphans")
    return standalone.name


def destroy(workspace: Workspace, reporter: Reporter) -> DestroyResult:
    """Remove containers, networks and volumes, if the user agrees. Raises OperationError otherwise."""
    standalone = load_machine(workspace)
    found = orphans.project_volumes(standalone)
    for name in found:
        reporter.progress(f"  volume {name}")
    on_nfs = " (data on the NFS server is kept)" if standalone.settings["USE_NFS"] == "true" else ""
    volumes = f"these {len(found)} volumes and all their data{on_nfs}" if found else "no volumes"
    what = f"{standalone.name} with {volumes}"
    if not reporter.confirm(f"Remove {what}?"):
        raise OperationError("nothing was removed")
    run_compose(standalone, reporter, "--profile", "*", "down", "--remove-orphans", "--volumes")
    orphans.remove_project_volumes(standalone)
    return DestroyResult(what, (workspace.project.env_file, Path(standalone.settings["PKI_DIR"])))
