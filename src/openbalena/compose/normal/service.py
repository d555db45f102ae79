"""One service in normal form: the keys of the Compose Specification (05-services.md) and the form of each."""

from typing import Any

from openbalena.base.errors import UsageError
from openbalena.compose.merge import as_sequence, named
from openbalena.compose.normal import ports, volumes
from openbalena.compose.normal.build import build
from openbalena.compose.normal.deploy import deploy
from openbalena.compose.normal.references import content_references
from openbalena.compose.normal.scalars import (
    Normalise,
    boolean,
    command,
    duration,
    each,
    fields,
    integer,
    key_values,
    labels,
    mapping,
    names,
    number,
    one_or_many,
    optional_text,
    size,
    string,
    text,
    untouched,
    values,
    variable,
)
from openbalena.compose.tree import Map, Position, Seq, expected

_CONDITIONS = ("service_started", "service_healthy", "service_completed_successfully")


def _condition(value: Any, position: Position) -> str:
    if not variable(value) and value not in _CONDITIONS:
        raise UsageError(
            f"unknown condition: expected {', '.join(_CONDITIONS[:-1])} or {_CONDITIONS[-1]}", where=position
        )
    return string(value, position)


def _depends_on(value: Any, position: Position) -> Map:
    known: dict[str, Normalise] = {"condition": _condition, "restart": boolean, "required": boolean}
    dependencies = values(fields(known, "depends_on"))(named(value, position, Map), position)
    for dependency in dependencies.values():
        dependency.setdefault("condition", "service_started")
        dependency.setdefault("required", True)
    return dependencies


def _env_file(value: Any, position: Position) -> Seq:
    """A list of paths and of `{path, required, format}`, or a single path."""
    known: dict[str, Normalise] = {"path": string, "required": boolean, "format": string}
    file = fields(known, "an environment file")
    if isinstance(value, Map):
        raise expected(position, "a path or a list", value)
    return each(lambda item, place: file(item, place) if isinstance(item, Map) else string(item, place))(
        as_sequence(value, position), position
    )


def _extra_hosts(value: Any, position: Position) -> Seq:
    """`host=address` lines; the older `host:address` is converted."""
    lines = Seq(position)
    if isinstance(value, Map):
        for host, addresses in value.items():
            if addresses is None:
                raise expected(value.at(host), "an address", addresses)
            for address in as_sequence(addresses):
                lines.put(f"{host}={text(address, value.at(host))}", value.at(host))
        return lines
    for line, place in each(string)(value, position).located():
        host, separator, address = line.partition("=" if "=" in line else ":")
        if not variable(line) and not (host and address):
            raise UsageError("expected HOST=ADDRESS", where=place)
        lines.put(f"{host}={address.strip('[]')}" if separator else line, place)
    return lines


def _healthcheck(value: Any, position: Position) -> Map:
    known: dict[str, Normalise] = {
        "test": _test, "interval": duration, "timeout": duration, "retries": integer, "start_period": duration,
        "start_interval": duration, "disable": boolean,
    }  # fmt: skip
    return fields(known, "healthcheck")(value, position)


def _test(value: Any, position: Position) -> Seq:
    """A check is run by a shell unless it is a list, whose first item is what runs it: the engine ignores any other."""
    if isinstance(value, Seq):
        words = each(string)(value, position)
        if words and not variable(words[0]) and words[0] not in ("NONE", "CMD", "CMD-SHELL"):
            raise UsageError("expected a list that starts with CMD, CMD-SHELL or NONE", where=words.at(0))
        return words
    arguments = Seq(position)
    for word in ("CMD-SHELL", string(value, position)):
        arguments.put(word, position)
    return arguments


def _network(value: Any, position: Position) -> Any:
    known: dict[str, Normalise] = {
        "aliases": each(text), "ipv4_address": text, "ipv6_address": text, "link_local_ips": each(text),
        "mac_address": text, "priority": integer, "gw_priority": integer, "driver_opts": values(text),
        "interface_name": text,
    }  # fmt: skip
    return None if value is None else fields(known, "a service's network")(value, position)


def _networks(value: Any, position: Position) -> Map:
    return values(_network)(names(value, position), position)


def _devices(value: Any, position: Position) -> Seq:
    """`{source, target, permissions}`; a CDI device name has only a source."""
    known: dict[str, Normalise] = {"source": text, "target": text, "permissions": text}
    devices = Seq(position)
    for item, place in each(untouched)(value, position).located():
        if not isinstance(item, Map):
            source, *rest = text(item, place).split(":")
            target = rest[0] if rest else source
            item = Map([("source", source), ("target", target), ("permissions", rest[1] if rest[1:] else "rwm")], place)
        devices.put(fields(known, "a device")(item, place), place)
    return devices


def ulimits(value: Any, position: Position) -> Map:
    """Each limit a number, or `{soft, hard}`."""

    def limit(item: Any, place: Position) -> Any:
        if isinstance(item, Map):
            return fields({"soft": integer, "hard": integer}, "a limit")(item, place)
        return integer(item, place)

    return values(limit)(value, position)


def _hooks(value: Any, position: Position) -> Seq:
    known: dict[str, Normalise] = {
        "command": command, "environment": key_values, "privileged": boolean, "user": text, "working_dir": text,
    }  # fmt: skip
    return each(fields(known, "a hook"))(value, position)


def _logging(value: Any, position: Position) -> Map:
    known: dict[str, Normalise] = {"driver": string, "options": values(optional_text)}
    return fields(known, "logging")(value, position)


KEYS: dict[str, Normalise] = {
    "annotations": labels, "attach": boolean, "blkio_config": mapping, "build": build, "cap_add": each(string),
    "cap_drop": each(string), "cgroup": string, "cgroup_parent": string, "command": command,
    "configs": content_references,
    "container_name": string, "cpu_count": integer, "cpu_percent": number, "cpu_period": text, "cpu_quota": text,
    "cpu_rt_period": text, "cpu_rt_runtime": text, "cpu_shares": integer, "cpus": number, "cpuset": string,
    "credential_spec": mapping, "depends_on": _depends_on, "deploy": deploy, "develop": untouched,
    "device_cgroup_rules": each(string), "devices": _devices, "dns": one_or_many, "dns_opt": one_or_many,
    "dns_search": one_or_many, "domainname": string, "entrypoint": command, "env_file": _env_file,
    "environment": key_values, "expose": each(text), "extends": untouched, "external_links": each(string),
    "extra_hosts": _extra_hosts, "gpus": untouched, "group_add": each(text), "healthcheck": _healthcheck,
    "hostname": string, "image": string, "init": boolean, "ipc": string, "isolation": string, "label_file": one_or_many,
    "labels": labels, "links": each(string), "logging": _logging, "mac_address": string, "mem_limit": size,
    "mem_reservation": size, "mem_swappiness": integer, "memswap_limit": size, "models": untouched,
    "network_mode": string, "networks": _networks, "oom_kill_disable": boolean, "oom_score_adj": integer, "pid": string,
    "pids_limit": integer, "platform": string, "ports": ports.normalise, "post_start": _hooks,
    "pre_stop": _hooks, "privileged": boolean, "profiles": each(string), "provider": untouched, "pull_policy": string,
    "pull_refresh_after": string, "read_only": boolean, "restart": string, "runtime": string, "scale": integer,
    "secrets": content_references, "security_opt": each(string), "shm_size": size, "stdin_open": boolean,
    "stop_grace_period": duration, "stop_signal": string, "storage_opt": values(text), "sysctls": labels,
    "tmpfs": one_or_many, "tty": boolean, "ulimits": ulimits, "use_api_socket": boolean, "user": string,
    "userns_mode": string, "uts": string, "volume_driver": string, "volumes": volumes.normalise,
    "volumes_from": each(string), "working_dir": string,
}  # fmt: skip

normalise = fields(KEYS, "a service")
