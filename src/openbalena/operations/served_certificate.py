"""The certificate that HAProxy serves on this machine: it is in a volume, and pki/chain.pem is for a cluster."""

from openbalena.base.errors import OperationError
from openbalena.certificates import served
from openbalena.certificates.served import Served
from openbalena.operations.engines import installed_engine
from openbalena.operations.reporter import Reporter
from openbalena.operations.workspace import Workspace
from openbalena.settings import Settings


def served_certificate(workspace: Workspace, settings: Settings, reporter: Reporter) -> Served | None:
    """What HAProxy on this machine serves; None if none runs or, with a warning, if the engine does not answer."""
    try:
        engine = installed_engine(workspace.lab)
        return served.find_served_certificate(workspace.project, settings, engine) if engine else None
    except OperationError as error:
        reporter.warn(f"could not determine whether HAProxy on this machine serves another certificate: {error}")
        return None
