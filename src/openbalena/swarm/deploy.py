"""Submitting a rendered stack to Docker, and removing secrets and configs that it no longer uses."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from openbalena.base import files
from openbalena.base.errors import OperationError
from openbalena.base.names import STACK_LABEL
from openbalena.docker.engine import Engine
from openbalena.swarm import object_names, releases, settings_store

# Seconds: submitting is fast, but registry lookups take a while for each image.
_SUBMIT = 300.0


def read_rendered(directory: Path) -> dict[str, Any]:
    """The stack document rendered in `directory`. Raises OperationError if it is not one."""
    with (directory / "stack.yml").open(encoding="utf-8") as stream:
        document = yaml.safe_load(stream)
    if not isinstance(document, dict):
        raise OperationError(f"{directory / 'stack.yml'}: not a stack document")
    return document


def deploy_environment(directory: Path, stack: str) -> dict[str, str]:
    """The variables that `docker stack deploy` interpolates: deploy.env and the names of secrets and configs."""
    variables: dict[str, str] = {}
    file = directory / "deploy.env"
    if file.exists():
        for line in file.read_text(encoding="utf-8").splitlines():
            name, separator, value = line.partition("=")
            if separator:
                # The file is written for a shell: each value is one quoted word.
                variables[name] = "".join(shlex.split(value))
    return variables | object_names.versioned_name(read_rendered(directory), directory, stack)


def submit_stack(
    engine: Engine, directory: Path, stack: str, *, resolve: bool, only: Collection[str] = frozenset()
) -> None:
    """Deploy the stack rendered in `directory`, removing services that are no longer in it.

    With `only`, just these services are deployed and all others are left unchanged. `resolve`: look up the images'
    digests in their registries (images that only the nodes have cannot be looked up). Values are passed in the docker
    process's environment only, since everybody can see its arguments. Raises OperationError with Docker's error.
    """
    file = directory / "stack.yml"
    if only:
        document = read_rendered(directory)
        document["services"] = {name: body for name, body in document["services"].items() if name in only}
        file = directory / "part.yml"  # in the same directory, since its paths are relative to that
        files.write_atomic(file, yaml.safe_dump(document), 0o600)
    try:
        engine.docker(
            *("stack", "deploy", "--compose-file", str(file), *([] if only else ["--prune"]), "--with-registry-auth"),
            *("--resolve-image", "changed" if resolve else "never", "--detach=true", stack),
            env=deploy_environment(directory, stack),
            timeout=_SUBMIT,
        )
    finally:
        if only:
            file.unlink()


def remove_unused(client: Any, stack: str, only: Collection[str] | None = None) -> list[str]:
    """Remove old versions of the stack's secrets and configs that no service uses; returns their names.

    Those of a service's previous spec are removed once its update is complete, when it can no longer be rolled back to
    them. The latest settings (see settings_store) are kept, although no service uses them, and what the current release
    and the one to which it can be rolled back need. With `only`, no others than these names are removed.
    """
    removed = []
    for unused, remove in zip(
        _unused(client, stack), (client.api.remove_secret, client.api.remove_config), strict=True
    ):
        for identifier, name in unused.items():
            if only is None or name in only:
                remove(identifier)
                removed.append(name)
    return removed


def unused_names(client: Any, stack: str) -> list[str]:
    """The names of what `remove_unused` would remove."""
    return [name for unused in _unused(client, stack) for name in unused.values()]


def _unused(client: Any, stack: str) -> tuple[dict[str, str], dict[str, str]]:
    """The secrets and the configs (name by id) of the stack that nothing uses."""
    settings = settings_store.latest(client, stack)
    used = releases.objects_in_use(releases.read_releases(client, stack)) | ({settings.name} if settings else set())
    for spec in (spec for raw in client.api.services() for spec in _specs(raw)):
        container = spec.get("TaskTemplate", {}).get("ContainerSpec", {})
        used |= {item["SecretName"] for item in container.get("Secrets") or []}
        used |= {item["ConfigName"] for item in container.get("Configs") or []}
    secrets, configs = (
        # The names of a stack `shop_x` begin as those of the stack `shop` do. What no stack has made has no label.
        {item.id: item.name for item in kind.list() if _labels(item).get(STACK_LABEL, stack) == stack}
        for kind in (client.secrets, client.configs)
    )
    return (
        {identifier: secrets[identifier] for identifier in object_names.unused_objects(secrets, stack, used)},
        {identifier: configs[identifier] for identifier in object_names.unused_objects(configs, stack, used)},
    )


def _labels(item: Any) -> Mapping[str, str]:
    return item.attrs["Spec"].get("Labels") or {}


def _specs(service: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The specs that the service's tasks may still be started from (Engine API, ServiceInspect, UpdateStatus.State)."""
    yield service["Spec"]
    # There is no status before the update begins, and if it changes no task.
    state = (service.get("UpdateStatus") or {}).get("State")
    if state not in ("completed", "rollback_completed") and "PreviousSpec" in service:
        yield service["PreviousSpec"]
