"""The normal form of a project: what `docker compose config` prints, with sizes and durations as they were written."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from openbalena.base import files
from openbalena.base.errors import UsageError
from openbalena.compose import dotenv
from openbalena.compose.normal import resources, service
from openbalena.compose.normal.scalars import each, mapping, string, text, unsplit_command, variable
from openbalena.compose.paths import is_file
from openbalena.compose.tree import Map, Position, Seq
from openbalena.compose.unique import unique

SECTIONS = ("networks", "volumes", "secrets", "configs")
_TOP = {"name", "version", "services", "include", "models", *SECTIONS}


class Source(Protocol):
    """What normalisation needs from a project."""

    @property
    def environment(self) -> Mapping[str, str]: ...

    @property
    def interpolated(self) -> bool: ...

    def chosen(self, service: Map) -> bool: ...


def misplaced(item: Any) -> str:
    """Where to write the value of an unknown top-level key, if it is a service, as in the first version of Compose."""
    return "write it below services:" if isinstance(item, Map) and {"image", "build"} & set(item) else ""


def model(tree: Map, source: Source) -> Map:
    """The enabled services of `tree` in normal form, and the resources that they use."""
    for key in tree:
        if key not in _TOP and not key.startswith("x-"):
            raise UsageError(f"unknown top-level key {key}", misplaced(tree[key]), where=tree.at(key))
    if tree.get("name") is not None:
        string(tree["name"], tree.at("name"))
    services, declared = Map(position=tree.at("services")), mapping(tree.get("services"), tree.at("services"))
    resources.require_names("services", declared)
    for name, written in declared.items():
        place = declared.at(name)
        each(string)(written.get("profiles"), written.at("profiles"))
        if source.chosen(written):
            services.put(name, _service(written, source), place)
    result = Map([("services", services)], tree.position)
    for section in SECTIONS:
        described = resources.section(section, tree.get(section), tree.at(section))
        used = _used(section, services, described)
        if used:
            result.put(section, used, tree.at(section))
    if isinstance(tree.get("models"), Map):
        result.put("models", tree["models"], tree.at("models"))
    return result


def _service(written: Map, source: Source) -> Map:
    deduplicated = written.copy()
    for key, value in written.items():
        if isinstance(value, Seq):
            deduplicated[key] = unique(value, f"services.*.{key}")
    unsplit = () if source.interpolated else [key for key in ("command", "entrypoint") if variable(written.get(key))]
    normal: Map = service.normalise(deduplicated.without(unsplit) if unsplit else deduplicated, written.position)
    for key in unsplit:
        normal.put(key, unsplit_command(written[key], written.at(key)), written.at(key))
    if "args" in normal.get("build", ()):
        normal["build"].put("args", _resolved(normal["build"]["args"], source), normal["build"].at("args"))
    if normal.get("env_file") or "environment" in normal:
        place = normal.at("environment" if "environment" in normal else "env_file")
        normal.put("environment", _environment(normal, source), place)
    normal.pop("env_file", None)
    if "label_file" in normal:
        normal.put("labels", _labels(normal, source), normal.at("labels" if "labels" in normal else "label_file"))
        del normal["label_file"]
    _implied_dependencies(normal)
    if not normal.get("networks") and "network_mode" not in normal and "provider" not in normal:
        normal.put("networks", Map([("default", None)], written.position), written.position)
    return normal


def _environment(normal: Map, source: Source) -> Map:
    """env_file's variables, then `environment`'s; a key without a value gets it from the project's environment."""
    environment = Map(position=normal.at("environment"))
    for item, place in normal.get("env_file", Seq()).located():
        for key, read in _file_variables(item, place, source.environment).items():
            environment.put(key, read if source.interpolated else read.replace("$", "$$"), place)
    own = _resolved(normal.get("environment") or Map(), source)
    for key, value in own.items():
        environment.put(key, value, own.at(key))
    return environment


def _resolved(variables: Map, source: Source) -> Map:
    """The variables, those without a value with the project's environment's, if it has one."""
    resolved = variables.copy()
    for key, value in variables.items():
        if value is None and source.interpolated:
            resolved[key] = source.environment.get(key)
    return resolved


def _labels(normal: Map, source: Source) -> Map:
    """label_file's labels, then `labels`."""
    labels = Map(position=normal.at("label_file"))
    for item, place in normal["label_file"].located():
        for key, value in _file_variables(item, place, source.environment).items():
            labels.put(key, value if source.interpolated else value.replace("$", "$$"), place)
    own = normal.get("labels") or Map()
    for key, value in own.items():
        labels.put(key, value, own.at(key))
    return labels


def _file_variables(item: Any, place: Position, environment: Mapping[str, str]) -> dict[str, str]:
    described = item if isinstance(item, Map) else Map([("path", item)], place)
    path = Path(text(described.get("path"), place))
    if not is_file(path):
        if described.get("required", True):
            raise UsageError(f"environment file not found: {path}", where=place)
        return {}
    return _raw(path) if described.get("format") == "raw" else dotenv.read_file(path, environment).values


def _raw(path: Path) -> dict[str, str]:
    """`format: raw`: everything after the first `=` is the value, including quotes and dollar signs."""
    try:
        lines = files.read_text(path).decode().splitlines()
    except UnicodeError as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None
    pairs = (line.lstrip().partition("=") for line in lines)
    return {key: value for key, assigned, value in pairs if assigned and not key.startswith("#")}


def _used(section: str, services: Map, described: Map) -> Map:
    """The resources of `section` that services use, in their order; the network `default` need not be declared."""
    used: dict[str, Position] = {}
    for normal in services.values():
        for name, place in _references(section, normal):
            if name not in described and not (section == "networks" and name == "default"):
                raise UsageError(f"{section} has no {name}", "declare it at the file's top level", where=place)
            used.setdefault(name, place)
    kept = Map(position=described.position)
    for name, value in described.items():
        if name in used:
            kept.put(name, value, described.at(name))
    if section == "networks" and "default" in used and "default" not in kept:
        kept.put("default", Map(position=used["default"]), used["default"])
    return kept


def _references(section: str, normal: Map) -> list[tuple[str, Position]]:
    built = []
    if section == "secrets" and "build" in normal:
        built = [(item["source"], place) for item, place in normal["build"].get("secrets", Seq()).located()]
    value = normal.get(section)
    if value is None:
        return built
    if section == "networks":
        return [(name, value.at(name)) for name in value]
    if section == "volumes":
        return [
            (mount["source"], place)
            for mount, place in value.located()
            if mount["type"] == "volume" and mount.get("source") and "$" not in mount["source"]
        ]
    return built + [(reference["source"], place) for reference, place in value.located()]


def _implied_dependencies(normal: Map) -> None:
    """A service that uses another's namespaces, links or volumes depends on it (compose-go's normalization)."""
    implied: list[tuple[str, Position, bool]] = []
    for key in ("network_mode", "ipc", "pid", "uts", "cgroup"):
        kind, _, other = str(normal.get(key, "")).partition(":")
        if kind == "service":
            implied.append((other, normal.at(key), True))
    for item, place in normal.get("links", Seq()).located():
        implied.append((item.partition(":")[0], place, True))
    for item, place in normal.get("volumes_from", Seq()).located():
        if not item.startswith("container:"):
            implied.append((item.partition(":")[0], place, False))
    dependencies = normal.get("depends_on") or Map(position=implied[0][1] if implied else normal.position)
    for name, place, restart in implied:
        if name not in dependencies:
            described = Map([("condition", "service_started"), ("required", True)], place)
            if restart:
                described["restart"] = True
            dependencies.put(name, described, place)
    if implied:
        normal.put("depends_on", dependencies, dependencies.position)
