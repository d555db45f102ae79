"""More than one administrator machine: a deployment's settings and PKI are stored in the swarm and fetched from it.

Joins pki.archive (what they are) and swarm.settings_store (where they are stored).
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openbalena import settings
from openbalena.base.errors import OperationError, UsageError
from openbalena.base.files import write_atomic
from openbalena.base.owner import current_owner
from openbalena.base.project import Project
from openbalena.pki import archive
from openbalena.settings import Settings
from openbalena.settings.variables import variables

if TYPE_CHECKING:
    from openbalena.docker.engine import Engine
    from openbalena.swarm.settings_store import StoredSettings

# The service whose image, which has openssl, and nodes the one-shot task uses.
_READER = "haproxy-certs"


def require_compatible_settings(client: Any, project: Project, settings: Settings) -> None:
    """Refuse, before anything changes, settings that do not follow from those in the swarm or cannot be stored there.

    Raises OperationError if the stack runs, or has left its volumes, with settings that are not this machine's, and
    UsageError as `require_kept` does.
    """
    from openbalena.swarm import settings_store

    reject_unsaved_tokens(project, settings)
    settings_store.require_compatible(
        settings_store.latest(client, settings["STACK_NAME"]), _fingerprints(settings), _last_synced(project)
    )


def difference(found: "StoredSettings", project: Project, settings: Settings) -> str:
    """How this machine's settings differ from the stored ones, "" if a deploy may continue from them.

    Raises UsageError if there is no PKI yet.
    """
    from openbalena.swarm import settings_store

    return settings_store.difference(found, _fingerprints(settings), _last_synced(project))


def reject_unsaved_tokens(project: Project, settings: Settings) -> None:
    """Raise UsageError for a token of the environment that differs from `.env`, which is what would be stored."""
    for name, variable in variables().items():
        if variable.token and name in settings.exported:
            raise UsageError(
                f"{settings.sources[name]}: {name} differs from {project.env_file}, and the cluster would get a token "
                "that is saved nowhere: unset it, or (if .env has none) run ./open-balena.sh config, which writes it "
                "there"
            )


def upload(client: Any, project: Project, settings: Settings) -> None:
    """Store this machine's settings and PKI in the swarm as the newest. Raises OperationError as `check` does."""
    from openbalena.swarm import settings_store

    require_compatible_settings(client, project, settings)
    marks = _fingerprints(settings)
    packed = archive.pack_archive(project.directory, Path(settings["PKI_DIR"]))
    settings_store.save(client, settings["STACK_NAME"], packed, marks, current_owner())
    _remember(project, marks)


def record_reader_before_down(client: Any, stack: str) -> str:
    """Record with the stored settings where they can be read once no task runs; their secret's name, "" without any."""
    from openbalena.swarm import encrypted_read, settings_store, state

    found = settings_store.latest(client, stack)
    if found is None:
        return ""
    with suppress(OperationError):  # no reader runs: what was recorded before is kept
        settings_store.record_reader(
            client, found, *encrypted_read.pick_node_and_image(state.read_cluster(client, stack), _READER)
        )
    return found.name


def download(engine: "Engine", client: Any, stack: str) -> bytes:
    """The newest settings and PKI of `stack` from the swarm, packed.

    Raises OperationError if there are none, or no task can read them.
    """
    from openbalena.swarm import encrypted_read, settings_store, state

    found = settings_store.latest(client, stack)
    if found is None:
        others = settings_store.stacks(client)
        known = f"this swarm has those of {', '.join(others)} (set STACK_NAME)" if others else "it has none"
        raise OperationError(f"the swarm has no settings of stack {stack}: {known}")
    cluster = state.read_cluster(client, stack)
    taken_down = found.image and not cluster.services
    node, image = (found.node, found.image) if taken_down else encrypted_read.pick_node_and_image(cluster, _READER)
    return encrypted_read.read_file(
        engine, client, node=node, image=image, file=f"/run/secrets/{found.name}", secrets=[found.name]
    )


def restore(packed: bytes, project: Project) -> list[str]:
    """Write the settings and PKI that `fetch` got; returns the files' names.

    Raises OperationError if the settings name another directory for the PKI.
    """
    names = archive.unpack_archive(packed, project.directory)
    values = settings.read(project)
    if Path(values["PKI_DIR"]) != project.pki:
        raise OperationError(
            f"{project.env_file}: PKI_DIR is {values['PKI_DIR']}: move the files of {project.pki} there"
        )
    _remember(project, _fingerprints(values))
    return names


def _fingerprints(settings: Settings) -> dict[str, str]:
    return archive.fingerprints(Path(settings["PKI_DIR"]), settings)


def _last_synced(project: Project) -> str:
    """The fingerprints of the tokens that this machine stored or fetched last, each on a line: see stored.check."""
    file = project.deployed
    return file.read_text().strip() if file.exists() else ""


def _remember(project: Project, marks: Mapping[str, str]) -> None:
    write_atomic(project.deployed, f"{marks['tokens']}\n{marks['later']}\n", 0o600)
