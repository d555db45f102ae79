"""What a service finds only on some nodes, and so misses when its task runs on another: paths, volumes and images."""

from collections.abc import Iterator
from typing import Any

from openbalena.compose.tree import Map, Position
from openbalena.stack.diagnostic import Diagnostic, Severity

# What a Linux machine with Docker has: these paths, and all that is below them.
_EVERYWHERE = (
    "/dev", "/etc/group", "/etc/hostname", "/etc/localtime", "/etc/machine-id", "/etc/passwd", "/lib/modules", "/proc",
    "/run/docker.sock", "/sys", "/var/lib/docker", "/var/run/docker.sock",
)  # fmt: skip
# Attributes that tell one node from another, which its role does not.
_ONE_NODE = ("node.hostname", "node.id", "node.ip", "node.labels.")
_INSTEAD = (
    "create it on each, mount a config or a volume in its place, or constrain the service to the node that has it"
)


def mount_diagnostics(services: Map, declared: Map) -> Iterator[Diagnostic]:
    """A note for each path and each local volume that compiled `services` mount from their nodes.

    `declared` are the project's volumes.
    """
    users: dict[tuple[str, str], list[str]] = {}
    places: dict[tuple[str, str], Position] = {}
    for name, service in services.items():
        for kind, source, place in _mounts(service, declared):
            places.setdefault((kind, source), place)
            users.setdefault((kind, source), []).append(name)
    for (kind, source), names in users.items():
        place, task = places[kind, source], f"a task of {_listed(list(dict.fromkeys(names)))}"
        if kind == "bind":
            yield Diagnostic(place, "volumes.bind", Severity.NOTE, _missing(source, task), _INSTEAD)
        else:
            meaning = f"each node has its own volume {source}: where {task} moves, it finds an empty one"
            instead = "constrain the service to one node (x-swarm.stateful), or use a driver that shares the volume"
            yield Diagnostic(place, "volumes.local", Severity.NOTE, meaning, instead)


def _mounts(service: Map, declared: Map) -> Iterator[tuple[str, str, Position]]:
    """The kind, source and place of each mount that needs something on its node."""
    deploy = service.get("deploy") or Map()
    pinned = deploy.get("mode") == "global" or any(map(_is_one_node, _constraints(deploy)))
    for mount, place in service["volumes"].located() if "volumes" in service else ():
        kind, source = mount["type"], str(mount.get("source") or "")
        is_local = kind == "volume" and source in declared and not pinned and _is_local(declared[source] or Map())
        if is_local or (kind == "bind" and source and not _is_everywhere(source)):
            yield kind, source, place


def _listed(names: list[str]) -> str:
    more = f" or {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def bind_diagnostic(name: str, volume: Map) -> Diagnostic | None:
    """The note for a local volume that is a bind mount by its driver's options."""
    options = volume.get("driver_opts")
    if not isinstance(options, Map) or "bind" not in str(options.get("o", "")).split(","):
        return None
    place: Position = options.at("device")
    meaning = _missing(str(options.get("device")), f"a task with the volume {name}")
    return Diagnostic(place, "volumes.bind", Severity.NOTE, meaning, "create it on each, or use a plain volume")


def _missing(path: str, user: str) -> str:
    return f"{path} must be on every node that may run {user}: Swarm does not create it"


def _is_everywhere(path: str) -> bool:
    return path == "/" or any(path == known or path.startswith(f"{known}/") for known in _EVERYWHERE)


def _constraints(deploy: Map) -> list[Any]:
    return list((deploy.get("placement") or Map()).get("constraints") or ())


def _is_one_node(constraint: Any) -> bool:
    return str(constraint).strip().lower().startswith(_ONE_NODE) and "==" in str(constraint)


def _is_local(volume: Map) -> bool:
    """Whether it is on a node's own disk: options may be those of a file server."""
    return volume.get("driver") in (None, "", "local") and not volume.get("driver_opts") and not volume.get("external")
