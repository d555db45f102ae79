"""More than one administrator machine: a deployment's settings and PKI are kept in the swarm, and come back from it.

Joins secrets.bundle (what they are) and cluster.stored (where they are kept).
"""

import getpass
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openbalena.errors import OperationError
from openbalena.files import write_atomic
from openbalena.project import Project
from openbalena.secrets import bundle
from openbalena.settings import Settings

if TYPE_CHECKING:
    from openbalena.cluster.engine import Engine

# The service whose image, which has openssl, and nodes the one-shot task uses.
_READER = "haproxy-certs"


def check(client: Any, project: Project, settings: Settings) -> None:
    """Raise OperationError where the stack runs with settings that are not this machine's, before anything changes."""
    from openbalena.cluster import stored

    stored.check(stored.newest(client, settings["STACK_NAME"]), _marks(settings), _base(project))


def keep(client: Any, project: Project, settings: Settings) -> None:
    """Store this machine's settings and PKI in the swarm as the newest. Raises OperationError as `check` does."""
    from openbalena.cluster import stored

    check(client, project, settings)
    marks = _marks(settings)
    packed = bundle.pack(project.directory, Path(settings["PKI_DIR"]))
    stored.save(client, settings["STACK_NAME"], packed, marks, f"{getpass.getuser()}@{socket.gethostname()}")
    _note(project, marks["tokens"])


def fetch(engine: "Engine", client: Any, stack: str) -> bytes:
    """The newest settings and PKI of `stack` from the swarm, packed.

    Raises OperationError where there are none, or no task can read them.
    """
    from openbalena.cluster import sealed, state, stored

    found = stored.newest(client, stack)
    if found is None:
        others = stored.stacks(client)
        known = f"this swarm has those of {', '.join(others)} (set STACK_NAME)" if others else "it has none"
        raise OperationError(f"the swarm has no settings of a stack {stack}: {known}")
    node, image = sealed.reader(state.read(client, stack), _READER)
    return sealed.read(engine, client, node=node, image=image, file=f"/run/secrets/{found.name}", secrets=[found.name])


def restore(packed: bytes, project: Project) -> list[str]:
    """Write the settings and PKI that `fetch` got; returns the files' names.

    Raises OperationError where the settings say that the PKI is elsewhere.
    """
    from openbalena import settings

    names = bundle.unpack(packed, project.directory)
    values = settings.load(project)
    if Path(values["PKI_DIR"]) != project.pki:
        raise OperationError(
            f"{project.env_file}: PKI_DIR is {values['PKI_DIR']}: move the files of {project.pki} there"
        )
    _note(project, _marks(values)["tokens"])
    return names


def _marks(settings: Settings) -> dict[str, str]:
    return bundle.marks(Path(settings["PKI_DIR"]), settings)


def _base(project: Project) -> str:
    """The `tokens` mark of what this machine stored or fetched last."""
    file = project.deployed
    return file.read_text().strip() if file.exists() else ""


def _note(project: Project, mark: str) -> None:
    write_atomic(project.deployed, mark + "\n", 0o600)
