"""The keys that plain `docker stack deploy` (CLI 28.2, schema 3.13) supports below service keys and at the top level.

It refuses any other key, without a line number. Each entry was tested with `docker stack config`.
"""

import re
from collections.abc import Iterator
from typing import Any

from openbalena.compose.interpolation import split_mount
from openbalena.compose.tree import Map, Position, Seq
from openbalena.stack.diagnostic import Diagnostic, Severity
from openbalena.stack.rule import Native, Status
from openbalena.stack.rules import RULES

_UPDATE = {"parallelism", "delay", "failure_action", "monitor", "max_failure_ratio", "order"}
_REFERENCE = {"source", "target", "uid", "gid", "mode"}
_CONTENT = {"name", "file", "external", "labels", "template_driver"}
# Keys below a path; `*` matches names and list items.
_KNOWN: dict[str, set[str]] = {
    "": {"version", "services", "networks", "volumes", "secrets", "configs"},
    "services.*.configs.*": _REFERENCE,
    "services.*.credential_spec": {"config", "file", "registry"},
    "services.*.deploy": {
        "mode", "endpoint_mode", "replicas", "labels", "update_config", "rollback_config", "resources",
        "restart_policy", "placement",
    },
    "services.*.deploy.placement": {"constraints", "preferences", "max_replicas_per_node"},
    "services.*.deploy.resources": {"limits", "reservations"},
    "services.*.deploy.resources.limits": {"cpus", "memory", "pids"},
    "services.*.deploy.resources.reservations": {"cpus", "memory", "generic_resources"},
    "services.*.deploy.restart_policy": {"condition", "delay", "max_attempts", "window"},
    "services.*.deploy.rollback_config": _UPDATE,
    "services.*.deploy.update_config": _UPDATE,
    "services.*.healthcheck": {
        "test", "interval", "timeout", "retries", "start_period", "start_interval", "disable",
    },
    "services.*.logging": {"driver", "options"},
    "services.*.networks.*": {"aliases", "ipv4_address", "ipv6_address", "driver_opts"},
    "services.*.ports.*": {"mode", "target", "published", "protocol"},
    "services.*.secrets.*": _REFERENCE,
    "networks.*": {"name", "driver", "driver_opts", "attachable", "internal", "external", "labels", "ipam"},
    "networks.*.ipam": {"driver", "config"},
    "networks.*.ipam.config.*": {"subnet"},
    "volumes.*": {"name", "driver", "driver_opts", "external", "labels"},
    "secrets.*": _CONTENT | {"driver", "driver_opts"},
    "configs.*": _CONTENT,
}  # fmt: skip
_WALKED = {path.rpartition(".")[0] for path in _KNOWN} | set(_KNOWN) | {
    "services", "services.*", "services.*.env_file", "services.*.volumes",
}  # fmt: skip
_INSTEAD = {
    "name": "give the stack its name when it is deployed",
    "include": "name the files with -c",
    "configs.*.content": "write the content to a file and use file:",
    "configs.*.environment": "write the value to a file and use file:",
    "secrets.*.environment": "write the value to a file and use file:",
    "services.*.extends": "write the service in full, or compile it: stack render",
    "services.*.label_file": "write the labels in the stack file, or compile it: stack render",
    "services.*.ports.*.host_ip": "leave it out: Swarm publishes on every address",
}
# Refused as a mapping: in a stack file these take a list of names.
_LISTS = {"services.*.depends_on": Map, "services.*.env_file.*": Map}
# Refused as text, which Compose reads as octal.
_MODES = {"services.*.secrets.*.mode", "services.*.configs.*.mode"}
# Refused with days or weeks, which only Compose knows.
_DURATIONS = {"services.*.stop_grace_period"} | {
    f"services.*.{path}.{key}"
    for path, keys in {
        "healthcheck": ("interval", "timeout", "start_period", "start_interval"),
        "deploy.update_config": ("delay", "monitor"),
        "deploy.rollback_config": ("delay", "monitor"),
        "deploy.restart_policy": ("delay", "window"),
    }.items()
    for key in keys
}
_DAYS = re.compile(r"[0-9.][dw]")


def schema_findings(tree: Map) -> list[Diagnostic]:
    """Every key of a stack file that `docker stack` refuses or drops."""
    return [*_below(tree, ""), *_service_keys(tree)]


def _service_keys(tree: Map) -> Iterator[Diagnostic]:
    for service in (tree.get("services") or Map()).values():
        for key in service if isinstance(service, Map) else ():
            rule, place = RULES.get(key), service.at(key)
            if rule is None:
                if f"services.*.{key}" in _INSTEAD:
                    yield refused(place, key, _INSTEAD[f"services.*.{key}"])
            elif rule.native is Native.REFUSED:
                yield refused(place, key, rule.instead)
            elif rule.native is Native.DROPPED:
                harmless = rule.status is Status.IRRELEVANT
                severity = Severity.WARNING if harmless else Severity.ERROR
                yield Diagnostic(place, key, severity, "`docker stack` drops this key", rule.instead)


def refused(place: Position, key: str, instead: str) -> Diagnostic:
    """The error for a key that `docker stack` refuses."""
    return Diagnostic(place, key, Severity.ERROR, "`docker stack` refuses this key", instead)


def _one_letter(mount: str) -> bool:
    source, *target = split_mount(mount)
    return bool(target) and len(source) == 1 and source.isalpha()


def _below(value: Any, path: str) -> Iterator[Diagnostic]:
    if isinstance(value, Map):
        known = _KNOWN.get(path)
        for key, item in value.items():
            inner = f"{path}.{key}" if path else key
            named = f"{path}.*"
            if known is not None and key not in known and not key.startswith("x-"):
                yield refused(value.at(key), inner.replace("services.*.", ""), _INSTEAD.get(inner, "leave it out"))
            elif inner in _LISTS and isinstance(item, _LISTS[inner]):
                yield refused(value.at(key), key, "write a list of names")
            elif inner in _MODES and isinstance(item, str) and "$" not in item:
                place, rule = value.at(key), inner.removeprefix("services.*.").replace(".*", "")
                yield Diagnostic(place, rule, Severity.ERROR, "`docker stack` refuses a string as a mode", "write 0400")
            elif inner in _DURATIONS and isinstance(item, str) and "$" not in item and _DAYS.search(item):
                rule = inner.removeprefix("services.*.")
                yield Diagnostic(value.at(key), rule, Severity.ERROR, "`docker stack` refuses days", "write hours: 24h")
            elif inner in _WALKED:
                yield from _below(item, inner)
            elif named in _WALKED:
                yield from _below(item, named)
    elif isinstance(value, Seq):
        for item, place in value.located():
            if f"{path}.*" in _LISTS and isinstance(item, Map):
                yield refused(place, path.rpartition(".")[2], "write a path")
            elif path == "services.*.volumes" and isinstance(item, str) and _one_letter(item):
                meaning = f"`docker stack` reads {item[0]}: as a drive of Windows, not as the volume {item[0]}"
                yield Diagnostic(place, "volumes", Severity.ERROR, meaning, "choose a longer name, or the long form")
            else:
                yield from _below(item, f"{path}.*")
