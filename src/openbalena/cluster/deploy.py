"""Handing a rendered stack to Docker, and removing what it no longer uses once it runs."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from openbalena import files
from openbalena.cluster import names, stored
from openbalena.cluster.engine import Engine
from openbalena.errors import OperationError

# Seconds: submitting is quick, but with registry lookups each image may take a while.
_SUBMIT = 300


def read_rendered(directory: Path) -> dict[str, Any]:
    """The stack document rendered in `directory`."""
    with (directory / "stack.yml").open(encoding="utf-8") as stream:
        document = yaml.safe_load(stream)
    if not isinstance(document, dict):
        raise OperationError(f"{directory / 'stack.yml'}: no stack")
    return document


def environment(directory: Path, stack: str) -> dict[str, str]:
    """What `docker stack deploy` interpolates: the values of deploy.env, and names with content hashes for `stack`."""
    found: dict[str, str] = {}
    file = directory / "deploy.env"
    if file.exists():
        for line in file.read_text(encoding="utf-8").splitlines():
            name, separator, value = line.partition("=")
            if separator:
                # Written for a shell to read: a value is one quoted word.
                found[name] = "".join(shlex.split(value))
    return found | names.versioned(read_rendered(directory), directory, stack)


def submit(engine: Engine, directory: Path, stack: str, *, resolve: bool, only: Collection[str] = frozenset()) -> None:
    """Deploy the stack rendered in `directory`, removing services that are no longer in it.

    With names of services in `only` these are deployed, and all others stay as they are.
    `resolve`: look the images' digests up at their registries (nothing to look up for images that only the nodes have).
    Values reach the docker process by its environment alone: a process list shows arguments to everybody.
    """
    file = directory / "stack.yml"
    if only:
        document = read_rendered(directory)
        document["services"] = {name: body for name, body in document["services"].items() if name in only}
        file = directory / "part.yml"  # beside the other, since paths in it begin there
        files.write_atomic(file, yaml.safe_dump(document), 0o600)
    try:
        engine.docker(
            *("stack", "deploy", "--compose-file", str(file), *([] if only else ["--prune"]), "--with-registry-auth"),
            *("--resolve-image", "changed" if resolve else "never", "--detach=true", stack),
            env=environment(directory, stack),
            timeout=_SUBMIT,
        )
    finally:
        if only:
            file.unlink()


def remove_unused(client: Any, stack: str) -> list[str]:
    """Remove old versions of the stack's secrets and configs that no service uses; returns their names.

    Those of a service's previous spec go too, once its update is complete: there is nothing left to roll back to them.
    The newest settings (stored) stay, which no service uses.
    """
    settings = stored.newest(client, stack)
    used: dict[str, set[str]] = {"secrets": {settings.name} if settings else set(), "configs": set()}
    for spec in (spec for raw in client.api.services() for spec in _specs(raw)):
        container = spec.get("TaskTemplate", {}).get("ContainerSpec", {})
        used["secrets"] |= {item["SecretName"] for item in container.get("Secrets") or []}
        used["configs"] |= {item["ConfigName"] for item in container.get("Configs") or []}
    gone = []
    existing: Mapping[str, str] = {item.id: item.name for item in client.secrets.list()}
    for identifier in names.unused(existing, stack, used["secrets"]):
        client.api.remove_secret(identifier)
        gone.append(existing[identifier])
    existing = {item.id: item.name for item in client.configs.list()}
    for identifier in names.unused(existing, stack, used["configs"]):
        client.api.remove_config(identifier)
        gone.append(existing[identifier])
    return gone


def _specs(service: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What the service's tasks may still be started from (Engine API, ServiceInspect, UpdateStatus.State)."""
    yield service["Spec"]
    # Without a status where the update has not begun yet, and where it changes no task.
    state = (service.get("UpdateStatus") or {}).get("State")
    if state not in ("completed", "rollback_completed") and "PreviousSpec" in service:
        yield service["PreviousSpec"]
