"""Compose files in, one project out."""

import codecs
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openbalena.base.errors import UsageError
from openbalena.base.files import read_text as read_file
from openbalena.compose import extends, include, yaml_nodes
from openbalena.compose.interpolation import Interpolator, Variable
from openbalena.compose.merge import merge_maps
from openbalena.compose.paths import file_paths
from openbalena.compose.project import Project, project_name
from openbalena.compose.tree import Map, Position, apply_tags


@dataclass
class _Loader:
    """Reads files for one environment; each include gets its own loader."""

    environment: Mapping[str, str]
    interpolate: bool
    seen: tuple[Path, ...] = ()
    unset: dict[str, Position] = field(default_factory=dict)
    used: dict[str, Variable] = field(default_factory=dict)
    trees: dict[Path, Map] = field(default_factory=dict)
    written: Map = field(default_factory=Map)
    streams: Mapping[Path, bytes] = field(default_factory=dict)
    tagged: bool = False

    def read(self, path: Path) -> Map:
        """One file's tree; several documents are merged. Raises UsageError."""
        if path not in self.trees:
            self.trees[path] = self._parse(path)
        return self.trees[path]

    def _parse(self, path: Path) -> Map:
        try:
            content = self.streams[path] if path in self.streams else read_file(path)
            encoding = "utf-16" if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
            text = content.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
        except UnicodeError as error:
            raise UsageError(f"{path}: cannot be read: {error}") from None
        self.tagged |= "!" in text
        interpolate = Interpolator(self.environment, self.unset, self.used) if self.interpolate else None
        merged: Any = None
        for document in yaml_nodes.parse(text, str(path), interpolate):
            if document is None:
                continue
            if not isinstance(document, Map):
                raise UsageError(
                    "expected a Compose file: a mapping with services: at the top level",
                    where=Position(str(path), 1, 1),
                )
            merged = merge_maps(merged, document, "") if merged is not None else document
        return merged if merged is not None else Map(position=Position(str(path), 1, 1))

    def load(self, files: Iterable[Path], directory: Path) -> Map:
        """The files merged, with extends and includes resolved, and paths relative to `directory` made absolute."""
        merged = None
        for path in files:
            self.written = merge_maps(self.written, self.read(path), "")
            tree = extends.resolve_extends(self.read(path), path, directory, self.read)
            inner = _Include(self, path)
            tree = include.resolve_include(tree, directory, self.environment, inner.load)
            merged = merge_maps(merged, tree, "") if merged is not None else tree
        if merged is None:
            raise UsageError("no Compose file given")
        # Without `!` there is no tag to apply; that would copy the tree, which takes as long as to merge it.
        settled: Map = apply_tags(merged) if self.tagged else merged
        _check_shape(settled)
        return file_paths(settled, directory)


def _check_shape(tree: Map) -> None:
    """Raise UsageError if a section or a service is not a mapping."""
    for section in include.SECTIONS:
        if tree.get(section) is not None and not isinstance(tree[section], Map):
            raise UsageError(f"{section}: expected a mapping of names", where=tree.at(section))
    services: Map = tree.get("services") or Map()
    for name, service in services.items():
        if not isinstance(service, Map):
            raise UsageError(
                f"the service {name} is not a mapping: it needs an image or a build context", where=services.at(name)
            )


@dataclass(frozen=True)
class _Include:
    outer: _Loader
    path: Path

    def load(self, files: list[Path], directory: Path, environment: Mapping[str, str], place: Position) -> Map:
        outer = self.outer
        seen = (*outer.seen, self.path)
        for path in files:
            if path in seen:
                chain = " → ".join(str(step) for step in [*seen, path])
                raise UsageError(f"circular include of files: {chain}", where=place)
        return _Loader(environment, outer.interpolate, seen, outer.unset, outer.used).load(files, directory)


def load(
    files: Iterable[Path],
    *,
    environment: Mapping[str, str],
    profiles: Iterable[str] = (),
    interpolate: bool = True,
    directory: Path | None = None,
    streams: Mapping[Path, bytes] | None = None,
) -> Project:
    """Read `files`, merge them in order, and apply extends, includes, interpolation and profiles.

    `environment` holds the variables for `${…}`. Without `interpolate` every value is kept as written. `directory` is
    the project's, by default the first file's. `streams` is the content of those files that can be read only once.
    Raises UsageError, with file:line:column, for any error.
    """
    paths = [Path(path) for path in files]
    if not paths:
        raise UsageError("no Compose file given")
    base = (directory or paths[0].parent).absolute()
    name = project_name(Map(), environment, base)
    given = streams or {}
    loader = _Loader({"COMPOSE_PROJECT_NAME": name, **environment}, interpolate, streams=given)
    tree = loader.load(paths, base)
    if (own_name := project_name(tree, environment, base)) != name:
        # The file sets the project's name, and may interpolate it.
        name = own_name
        loader = _Loader({**environment, "COMPOSE_PROJECT_NAME": name}, interpolate, streams=given)
        tree = loader.load(paths, base)
    if not tree:
        place = Position(str(paths[0]), 1, 1)
        raise UsageError("the file is empty", "write a mapping with services:", where=place)
    return Project(
        name=name,
        directory=base,
        files=tuple(paths),
        tree=tree,
        environment=loader.environment,
        profiles=tuple(profiles),
        interpolated=interpolate,
        unset=loader.unset,
        variables=loader.used,
        written=loader.written,
    )
