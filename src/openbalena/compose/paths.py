"""Makes the paths in a Compose tree absolute: each is relative to the directory of the project that contains it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from openbalena.compose.interpolation import split
from openbalena.compose.tree import Map, Seq

_REMOTE = ("http://", "https://", "git://", "ssh://", "git@", "github.com/", "oci://", "docker-image://", "service:")


def is_file(path: Path) -> bool:
    """Whether `path` is a file; False for an invalid file name."""
    try:
        return path.is_file()
    except OSError:
        return False


def absolute(path: str, directory: Path) -> str:
    """`path`, relative to `directory`, as absolute; unchanged if it starts with a variable or is not a local path."""
    if not path or path.startswith(("/", "$")) or path.startswith(_REMOTE) or "://" in path:
        return path
    if path.startswith("~"):
        return os.path.expanduser(path)  # noqa: PTH111 - a path with a variable in it is not yet a Path
    return os.path.normpath(directory / path)


def _text(value: Any, directory: Path) -> Any:
    return absolute(value, directory) if isinstance(value, str) else value


def _volume(value: Any, directory: Path) -> Any:
    if isinstance(value, Map):
        return _at_keys(value, directory, {"source": _text}) if value.get("type") == "bind" else value
    if not isinstance(value, str):
        return value
    source, *rest = split(value)
    if rest and source.startswith((".", "~")):
        return ":".join([absolute(source, directory), *rest])
    return value


def _env_file(value: Any, directory: Path) -> Any:
    return _at_keys(value, directory, {"path": _text}) if isinstance(value, Map) else _text(value, directory)


def _items(change: Callable[[Any, Path], Any]) -> Callable[[Any, Path], Any]:
    def changed(value: Any, directory: Path) -> Any:
        if not isinstance(value, Seq):
            return change(value, directory)
        sequence = Seq(value.position)
        for item, position in value.located():
            sequence.put(change(item, directory), position)
        return sequence

    return changed


def _each(keys: dict[str, Callable[[Any, Path], Any]]) -> Callable[[Any, Path], Any]:
    return lambda value, directory: _at_keys(value, directory, keys)


def _values(change: Callable[[Any, Path], Any]) -> Callable[[Any, Path], Any]:
    def changed(value: Any, directory: Path) -> Any:
        if not isinstance(value, Map):
            return value
        return _at_keys(value, directory, dict.fromkeys(value, change))

    return changed


def _at_keys(value: Any, directory: Path, keys: dict[str, Callable[[Any, Path], Any]]) -> Any:
    if not isinstance(value, Map) or not any(key in value for key in keys):
        return value
    changed = value.copy()
    for key, change in keys.items():
        if key in changed:
            changed[key] = change(changed[key], directory)
    return changed


def _build(value: Any, directory: Path) -> Any:
    keys: dict[str, Callable[[Any, Path], Any]] = {"context": _text, "additional_contexts": _values(_text)}
    if not isinstance(value, Map):
        return _text(value, directory)
    if "context" not in value:
        value = value.copy()
        value.put("context", ".", value.position)
    return _at_keys(value, directory, keys)


def _bind_device(value: Any, directory: Path) -> Any:
    """A local volume that is a bind mount (`driver_opts: {o: bind, device: ./x}`) has its path relative as well."""
    options = value.get("driver_opts") if isinstance(value, Map) else None
    if not isinstance(options, Map) or "bind" not in str(options.get("o", "")).split(","):
        return value
    return _at_keys(value, directory, {"driver_opts": _each({"device": _text})})


_SERVICE: dict[str, Callable[[Any, Path], Any]] = {
    "build": _build,
    "env_file": _items(_env_file),
    "label_file": _items(_text),
    "volumes": _items(_volume),
    "extends": _each({"file": _text}),
    "develop": _each({"watch": _items(_each({"path": _text}))}),
    "credential_spec": _each({"file": _text}),
}
_SERVICE["x-swarm"] = _each(dict(_SERVICE))
_FILE: dict[str, Callable[[Any, Path], Any]] = {
    "services": _values(_each(_SERVICE)),
    "volumes": _values(_bind_device),
    "secrets": _values(_each({"file": _text})),
    "configs": _values(_each({"file": _text})),
}
_FILE["x-swarm"] = _each(dict(_FILE))


def service_paths(service: Map, directory: Path) -> Map:
    """`service` with its relative paths made absolute from `directory`."""
    changed: Map = _at_keys(service, directory, _SERVICE)
    return changed


def file_paths(tree: Map, directory: Path) -> Map:
    """A whole file with its relative paths made absolute from `directory`."""
    changed: Map = _at_keys(tree, directory, _FILE)
    return changed
