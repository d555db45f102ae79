"""What a service finds only on some nodes, and so misses when its task runs on another: paths, volumes and images."""

from typing import Any

from openbalena.compose.tree import Map, Position
from openbalena.stack.diagnostic import Diagnostic, Severity
from openbalena.stack.service import Service

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


def note_mounts(service: Service, declared: Map) -> None:
    """Note the mounts of the compiled `service` that need something on its nodes; `declared` are the volumes."""
    deploy = service.target.get("deploy") or Map()
    pinned = deploy.get("mode") == "global" or any(map(_is_one_node, _constraints(deploy)))
    for mount, place in service.target["volumes"].located() if "volumes" in service.target else ():
        source = str(mount.get("source") or "")
        if mount["type"] == "bind" and source and not _is_everywhere(source):
            service.note("volumes.bind", _missing(source, f"a task of {service.name}"), _INSTEAD, place)
        elif mount["type"] == "volume" and source in declared and not pinned and _is_local(declared[source] or Map()):
            service.note(
                "volumes.local",
                f"each node has its own volume {source}: where a task of {service.name} moves, it finds an empty one",
                "constrain the service to one node (x-swarm.stateful), or use a driver that shares the volume",
                place,
            )


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
