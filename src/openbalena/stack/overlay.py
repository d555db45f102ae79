"""`x-swarm`: a Compose fragment that is merged for Swarm only, by Compose's own rules, and three additional keys."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from openbalena.base.errors import UsageError
from openbalena.compose.merge import as_sequence, merge_maps
from openbalena.compose.project import Project
from openbalena.compose.tree import Map, Position, Seq, plain
from openbalena.stack.diagnostic import Diagnostic, Severity
from openbalena.stack.rules.deploy import OLDER

_WORDS = ("stateful", "secret_env", "without")
Reasons = Mapping[str, str | Mapping[str, str]]


@dataclass(frozen=True)
class SwarmExtensions:
    """The additional keys in a service's `x-swarm`; `at` is the position of x-swarm."""

    at: Position
    stateful: Seq = field(default_factory=Seq)
    secret_env: Map | None = None
    without: Map = field(default_factory=Map)


def overlay(project: Project) -> tuple[Project, dict[str, SwarmExtensions]]:
    """The project with x-swarm merged in, and each service's additional keys. Raises UsageError for an invalid one."""
    tree = project.tree
    fragment = tree.get("x-swarm")
    if fragment is not None:
        tree = tree.copy()
        place = tree.at("x-swarm")
        del tree["x-swarm"]
        tree = merge_maps(_without_older(tree, _mapping(fragment, place)), fragment, "")
    services, extensions = Map(position=tree.at("services")), {}
    for name, service in (tree.get("services") or Map()).items():
        place = tree["services"].at(name)
        if isinstance(service, Map) and "x-swarm" in service:
            service, extensions[name] = _service(service)
        services.put(name, service, place)
    changed = tree.copy()
    changed.put("services", services, tree.at("services"))
    name = fragment.get("name") if isinstance(fragment, Map) else None
    return replace(project, tree=changed, name=str(name or project.name)), extensions


def _service(service: Map) -> tuple[Map, SwarmExtensions]:
    place = service.at("x-swarm")
    fragment = _mapping(service["x-swarm"], place).copy()
    taken = {word: fragment.pop(word, None) for word in _WORDS}
    base = service.copy()
    del base["x-swarm"]
    merged = merge_maps(_without_older_keys(base, fragment), fragment, "services.*")
    secret_env = taken["secret_env"]
    return merged, SwarmExtensions(
        at=place,
        stateful=as_sequence(taken["stateful"]),
        secret_env=None if secret_env is None else _mapping(secret_env, place),
        without=Map() if taken["without"] is None else _mapping(taken["without"], place),
    )


def _without_older(tree: Map, fragment: Map) -> Map:
    """`tree`, each of its services as `_without_older_keys` leaves it for the project's `fragment`."""
    services, over = tree.get("services"), fragment.get("services")
    if not isinstance(services, Map) or not isinstance(over, Map):
        return tree
    kept = services.copy()
    for name in over:
        if isinstance(kept.get(name), Map) and isinstance(over[name], Map):
            kept[name] = _without_older_keys(kept[name], over[name])
    changed = tree.copy()
    changed["services"] = kept
    return changed


def _without_older_keys(service: Map, fragment: Map) -> Map:
    """`service` without keys such as mem_limit if `fragment` sets what takes their place below deploy in a cluster."""
    superseded = set()
    for key, path in OLDER.items():
        value = plain(fragment)
        for step in ("deploy", *path):
            value = value.get(step) if isinstance(value, dict) else None
        if value is not None and key not in fragment:
            superseded.add(key)
    return service.without(superseded)


def _mapping(value: Any, place: Position) -> Map:
    if not isinstance(value, Map):
        raise UsageError("x-swarm: expected a mapping", where=place)
    return value


def drop_keys(service: Map, without: Map) -> tuple[Map, list[Diagnostic]]:
    """The service (in normal form) without the keys and items in `without`, and a note with the reason for each.

    Raises UsageError for a missing key or item, and for one without a reason.
    """
    kept, notes = service.copy(), []
    for key, reason in without.items():
        place = without.at(key)
        if key not in kept:
            raise UsageError(f"x-swarm.without names {key}, which the service does not have", "remove it", where=place)
        if isinstance(reason, Map):
            kept[key] = _without_items(kept[key], key, reason)
            notes += [_note(reason.at(item), f"{key}.{item}", text) for item, text in reason.items()]
        else:
            del kept[key]
            notes.append(_note(place, key, reason))
    return kept, notes


def _note(place: Position, key: str, reason: Any) -> Diagnostic:
    if not isinstance(reason, str) or not reason.strip():
        raise UsageError(f"x-swarm.without: {key} needs a reason (a string)", where=place)
    return Diagnostic(place, key, Severity.NOTE, f"left out: {reason}")


def _without_items(value: Any, key: str, reasons: Map) -> Any:
    names = set(reasons)
    if isinstance(value, Map):
        dropped = names & set(value)
        kept: Map | Seq = value.without(dropped)
    elif isinstance(value, Seq):
        dropped, kept = set(), Seq(value.position)
        for item, place in value.located():
            if named := names.intersection(_names(item)):
                dropped |= named
            else:
                kept.put(item, place)
    else:
        raise UsageError(f"x-swarm.without: {key} has no items", "give it one reason", where=reasons.position)
    for name in names - dropped:
        items = value if isinstance(value, Map) else dict.fromkeys(each for item in value for each in _names(item)[:1])
        hint = f"expected one of {', '.join(items)}, or remove it" if items else "remove it"
        raise UsageError(f"x-swarm.without: {key} has no item {name}", hint, where=reasons.at(name))
    return kept


def _names(item: Any) -> tuple[str, ...]:
    """What `without` calls an item of a list: its source, else its target; a port also with its protocol, 53/udp."""
    if not isinstance(item, Map):
        return (str(item),)
    name = str(item.get("source") or item.get("target"))
    return (name, f"{name}/{item['protocol']}") if "protocol" in item else (name,)
