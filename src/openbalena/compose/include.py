"""`include`: other Compose projects, each loaded from its own directory and merged into this one."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from openbalena.base.errors import UsageError
from openbalena.compose import dotenv
from openbalena.compose.merge import as_sequence
from openbalena.compose.paths import is_file
from openbalena.compose.tree import Map, Position, plain

SECTIONS = ("services", "networks", "volumes", "secrets", "configs", "models")
LoadFiles = Callable[[list[Path], Path, Mapping[str, str], Position], Map]


def resolve_include(tree: Map, directory: Path, environment: Mapping[str, str], load: LoadFiles) -> Map:
    """`tree` with its includes merged in; `load(files, project directory, environment, place)` returns one of them.

    Raises UsageError if both define the same name differently.
    """
    includes = tree.get("include")
    if not includes:
        return tree
    joined = tree.copy()
    del joined["include"]
    for item, position in as_sequence(includes, tree.at("include")).located():
        files, base, env_files = _description(item, directory, position)
        values = dict(environment)
        for path in env_files:
            values = {**dotenv.read_file(path, environment).values, **values}
        joined = _join(joined, load(files, base, values, position))
    return joined


def _description(item: Any, directory: Path, position: Position) -> tuple[list[Path], Path, list[Path]]:
    """The files, the project directory and the environment files of one include."""
    described = item if isinstance(item, Map) else Map([("path", item)], position)
    paths = [directory / str(path) for path in as_sequence(described.get("path"))]
    if not paths:
        raise UsageError(
            "include: expected a file's path, or path: with optional project_directory: and env_file:", where=position
        )
    for path in paths:
        if not is_file(path):
            raise UsageError(f"included file not found: {path}", where=position)
    chosen = described.get("project_directory")
    base = directory / str(chosen) if chosen else paths[0].parent
    env_files = [directory / str(path) for path in as_sequence(described.get("env_file"))]
    if not env_files and is_file(base / ".env"):
        env_files = [base / ".env"]
    return paths, base, env_files


def _join(tree: Map, included: Map) -> Map:
    joined = tree.copy()
    for section in SECTIONS:
        theirs = included.get(section)
        if not isinstance(theirs, Map):
            continue
        ours = joined.get(section)
        merged = ours.copy() if isinstance(ours, Map) else Map(position=theirs.position)
        for name, value in theirs.items():
            if name in merged and plain(merged[name]) != plain(value):
                raise UsageError(
                    f"{section}.{name} is defined differently in the included file, at {theirs.at(name)}",
                    "rename one, or list both files in the path of one include",
                    where=merged.at(name),
                )
            merged.put(name, value, theirs.at(name))
        joined.put(section, merged, theirs.position)
    return joined
