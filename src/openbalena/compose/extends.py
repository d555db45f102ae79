"""`extends`: a service that is based on another one, in the same file or in another."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from openbalena.base.errors import UsageError
from openbalena.compose.merge import merge_maps
from openbalena.compose.paths import is_file, service_paths
from openbalena.compose.tree import Map, Position, apply_tags

ReadFile = Callable[[Path], Map]


def resolve_extends(tree: Map, path: Path, directory: Path, read: ReadFile) -> Map:
    """`tree` (the file `path`) with every `extends` resolved.

    `read` returns another file's tree; a relative `file:` is relative to `directory`. Raises UsageError for a missing
    service and for a circular `extends`.
    """
    services = tree.get("services")
    if not isinstance(services, Map):
        return tree
    if not any(isinstance(service, Map) and "extends" in service for service in services.values()):
        return tree
    resolved = Map(position=services.position)
    for name in services:
        resolved.put(name, _service(services, name, path, directory, read, ()), services.at(name))
    changed = tree.copy()
    changed["services"] = resolved
    return changed


def _service(
    services: Map, name: str, path: Path, directory: Path, read: ReadFile, seen: tuple[tuple[Path, str], ...]
) -> Any:
    service = services[name]
    if not isinstance(service, Map) or service.get("extends") is None:
        return service
    place = service.at("extends")
    if (path, name) in seen:
        chain = " → ".join(step for _, step in [*seen, (path, name)])
        raise UsageError(f"circular extends of services: {chain}", where=place)
    base_name, file = _target(service["extends"], place)
    seen = (*seen, (path, name))
    if file is None:
        if base_name not in services:
            raise UsageError(f"extended service not found in this file: {base_name}", where=place)
        base = _service(services, base_name, path, directory, read, seen)
    else:
        base = _from_file(base_name, directory / file, place, read, seen)
    own = service.copy()
    del own["extends"]
    if not isinstance(base, Map):
        return own
    return merge_maps(base, own, "services.*")


def _from_file(name: str, path: Path, place: Position, read: ReadFile, seen: tuple[tuple[Path, str], ...]) -> Any:
    if not is_file(path):
        raise UsageError(f"extended file not found: {path}", where=place)
    services = read(path).get("services")
    if not isinstance(services, Map) or name not in services:
        raise UsageError(f"extended service not found in {path}: {name}", where=place)
    base = apply_tags(_service(services, name, path, path.parent, read, seen))
    return service_paths(base, path.parent) if isinstance(base, Map) else base


def _target(value: Any, place: Position) -> tuple[str, str | None]:
    if isinstance(value, str):
        return value, None
    if isinstance(value, Map) and isinstance(value.get("service"), str):
        file = value.get("file")
        return value["service"], str(file) if file else None
    raise UsageError("extends: expected a service's name, or service: and file:", where=place)
