"""Mounts: volumes, tmpfs, shm_size and devices."""

from collections.abc import Iterator
from typing import Any

from openbalena.compose.interpolation import split_mount
from openbalena.compose.tree import Map, Position, Seq
from openbalena.stack.diagnostic import Diagnostic, Severity
from openbalena.stack.rule import Native, Rules, Status
from openbalena.stack.service import Service
from openbalena.stack.shape import (
    BOOLEAN,
    ONE_OR_MANY,
    STRING,
    UNIQUE_STRINGS,
    At,
    as_written,
    checked,
    either,
    integer,
    mapping,
    sequence,
    since,
)
from openbalena.stack.size import in_bytes

RULES = Rules()

# runc's default device rules (libcontainer/specconv, AllowedDevices): every container already has all except tun.
_IN_EVERY = {f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "console")}
_ALLOWED = {"/dev/net/tun"}
_MOUNT_KEYS = ("type", "source", "target", "read_only", "consistency")
_OPTION_KEYS = {"bind": {"propagation"}, "volume": {"nocopy", "subpath"}, "tmpfs": {"size"}}


def _bind_source(value: Map, at: At) -> Iterator[Diagnostic]:
    if value.get("type") == "bind" and not value.get("source"):
        yield at.refuse("a bind mount without a source", "write source:")


_MOUNT = {
    "type": STRING, "source": STRING, "target": STRING, "read_only": BOOLEAN, "consistency": STRING,
    "bind": mapping({"propagation": STRING}, closed=False), "volume": mapping({"nocopy": BOOLEAN}, closed=False),
    "tmpfs": since(6, mapping({"size": as_written(integer(0))}, closed=False)),
}  # fmt: skip


def _one_letter(value: str, at: At) -> Iterator[Diagnostic]:
    source, *target = split_mount(value)
    if target and len(source) == 1 and source.isalpha():
        meaning = f"`docker stack` reads {source}: as a drive of Windows, not as the volume {source}"
        yield Diagnostic(at.position, at.rule, Severity.ERROR, meaning, "choose a longer name, or the long form")


_VOLUMES = sequence(
    either(checked(STRING, _one_letter), since(2, mapping(_MOUNT, required=("type",), also=_bind_source)))
)
_SHM = as_written(either(STRING, integer()))


@RULES.rule("volumes", Status.SUPPORTED, Native.KEPT, shape=_VOLUMES)
def volumes(service: Service, value: Seq) -> None:
    """Kept in long form. A local volume differs on each node; a bind mount's path must exist on each node."""
    for mount, place in value.located():
        kind = mount["type"]
        if kind not in ("bind", "volume", "tmpfs", "npipe", "cluster"):
            service.error("volumes", f"Swarm has no mounts of type {kind}", "mount a volume or a config", place)
            continue
        service.append("volumes", _mount(service, mount, place), place)


def _mount(service: Service, mount: Map, place: Position) -> Map:
    kept = Map(position=place)
    for key in _MOUNT_KEYS:
        if key in mount:
            kept.put(key, mount[key], mount.at(key))
    kind = mount["type"]
    for other in mount:
        if other not in (*_MOUNT_KEYS, kind) and isinstance(mount[other], Map):
            _tell_of_lost(service, mount[other], other, kind)
    options = mount.get(kind)
    if isinstance(options, Map):
        allowed = Map(position=options.position)
        for key, value in options.items():
            if key in _OPTION_KEYS.get(kind, ()):
                allowed.put(key, in_bytes(value, options.at(key)) if key == "size" else value, options.at(key))
        _tell_of_lost(service, options, kind, kind)
        if allowed:
            kept.put(kind, allowed, mount.at(kind))
    return kept


def _tell_of_lost(service: Service, options: Map, written: str, kind: str) -> None:
    """Warn of each of the options, `written` below that key, that a mount of type `kind` does not have in Swarm."""
    for key, value in options.items():
        if key == "selinux":
            service.warn(
                "volumes.bind.selinux",
                f"`docker stack deploy` drops {value}: where SELinux is enforced, tasks cannot read the files",
                "label them on each node: chcon -R -t container_file_t PATH", options.at(key),
            )  # fmt: skip
        elif written == kind and key in _OPTION_KEYS.get(kind, ()):
            continue
        elif key != "create_host_path" and not (key == "mode" and value in (0o1777, 1777)):
            service.warn(f"volumes.{written}.{key}", "`docker stack deploy` drops it", "leave it out", options.at(key))


@RULES.rule("tmpfs", Status.TRANSLATED, Native.DROPPED, "write it as a volume of type tmpfs", shape=ONE_OR_MANY)
def tmpfs(service: Service, value: Seq) -> None:
    """Becomes mounts of type tmpfs with their size, always with mode 1777 and the options nosuid,nodev,noexec."""
    for item, place in value.located():
        target, _, options = item.partition(":")
        mount = Map([("type", "tmpfs"), ("target", target)], place)
        for option in filter(None, options.split(",")):
            name, _, setting = option.partition("=")
            if name == "size":
                mount.put("tmpfs", Map([("size", in_bytes(setting, place))], place), place)
            elif option not in ("rw", "nosuid", "nodev", "noexec", "mode=1777", "mode=01777"):
                service.warn("tmpfs", f"`docker stack deploy` cannot send {option}", "leave it out", place)
        service.append("volumes", mount, place)


@RULES.rule("shm_size", Status.TRANSLATED, Native.DROPPED, "mount a tmpfs of that size at /dev/shm", shape=_SHM)
def shm_size(service: Service, value: Any) -> None:
    """Becomes a tmpfs mount of that size at /dev/shm."""
    place = service.at("shm_size")
    mount = Map([("type", "tmpfs"), ("target", "/dev/shm")], place)  # noqa: S108 - the path of shared memory
    mount.put("tmpfs", Map([("size", in_bytes(value, place))], place), place)
    service.append("volumes", mount, place)


@RULES.rule(
    "devices",
    Status.TRANSLATED,
    Native.DROPPED,
    "bind-mount /dev/net/tun; Swarm does not support other devices",
    shape=UNIQUE_STRINGS,
)
def devices(service: Service, value: Seq) -> None:
    """A device that the runtime's default rules allow becomes a bind mount; any other is an error.

    Swarm has no devices. runc allows every container to use 10:200, /dev/net/tun, which works with NET_ADMIN.
    """
    for device, place in value.located():
        source, target = str(device.get("source", "")), str(device.get("target") or device.get("source", ""))
        if source in _IN_EVERY and target == source:
            continue
        if source not in _ALLOWED:
            service.error(
                "devices", f"Swarm has no devices, and the runtime does not allow {source}",
                "run it outside Swarm, or give the reason for leaving it out in x-swarm.without", place,
            )  # fmt: skip
            continue
        if "NET_ADMIN" not in service.source.get("cap_add", ()) and "ALL" not in service.source.get("cap_add", ()):
            service.warn("devices", f"{source} works only with NET_ADMIN", "add it to cap_add", place)
        mount = Map([("type", "bind"), ("source", source), ("target", target)], place)
        service.append("volumes", mount, place)
