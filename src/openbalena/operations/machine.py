"""The deployment on one machine, as its operations begin with it."""

from collections.abc import Mapping

from openbalena.lab import base
from openbalena.machine import deployment
from openbalena.machine.deployment import Standalone
from openbalena.operations.engines import default_engine
from openbalena.operations.workspace import Workspace


def load_machine(workspace: Workspace, extra: Mapping[str, str] | None = None, *, nfs: bool = True) -> Standalone:
    """Read the deployment and find its engine; parameters and errors as in machine.deployment.load_deployment."""
    return deployment.load_deployment(
        workspace.project, default_engine(workspace.lab), lab=workspace.lab, extra=extra, nfs=nfs
    )


def ensure_lab_base(standalone: Standalone) -> None:
    """Before anything is built: give the lab's engine the image that its stand-ins are built from."""
    if standalone.lab:
        base.ensure_base_image(standalone.engine)
