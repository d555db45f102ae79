"""A service of a stack document, as `docker stack config` prints it, as values to compare with a running service's.

Those (running_values) have the same titles, so that a comparison can name what differs. Durations are in nanoseconds,
memory in bytes.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from openbalena.base.names import STACK_LABELS, full_name
from openbalena.stack.size import nanoseconds

# The Engine does not list the swarm ids of these networks (moby, daemon/cluster, GetNetworks).
_EACH_NODES = {"host", "bridge"}
# Titles whose change leaves running tasks alone (swarmkit, manager/orchestrator, IsTaskDirty): the tasks of a service
# whose constraints change are replaced only where their node does not satisfy them.
KEEPS_TASKS = frozenset({"service labels", "replicas", "constraints", "spread over", "replicas per node"}) | {
    f"{kind} {part}"
    for kind in ("update", "rollback")
    for part in ("order", "parallelism", "delay", "monitor", "on failure", "failure ratio")
}
# A health check's times in a document, and in the Engine API.
CHECK_TIMES = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start_period": "StartPeriod",
    "start_interval": "StartInterval",
}
Values = dict[str, Any]


def desired_values(name: str, service: Values, document: Mapping[str, Any], stack: str) -> Values:
    """The values that `docker stack deploy` would give to the service `name` of `document`."""
    logging = service.get("logging", {})
    return {
        "image": service.get("image", ""),
        "entrypoint": service.get("entrypoint") or [],
        "command": service.get("command") or [],
        "user": str(service.get("user", "")),
        "groups": [str(group) for group in service.get("group_add", ())],
        "working directory": service.get("working_dir", ""),
        "hostname": service.get("hostname", ""),
        "hosts": sorted(_host(entry) for entry in service.get("extra_hosts", ())),
        "DNS servers": _listed(service.get("dns")),
        "DNS search": _listed(service.get("dns_search")),
        "environment": {key: value or "" for key, value in service.get("environment", {}).items()},
        "labels": service.get("labels", {}),
        **_desired_deploy(service.get("deploy", {})),
        "grace period": nanoseconds(service.get("stop_grace_period", "10s")),
        "stop signal": service.get("stop_signal", ""),
        "init": bool(service.get("init")),
        "terminal": [bool(service.get("stdin_open")), bool(service.get("tty"))],
        "isolation": service.get("isolation") or "default",
        "capabilities": sorted(capability(item) for item in service.get("cap_add", ())),
        "dropped capabilities": sorted(capability(item) for item in service.get("cap_drop", ())),
        "sysctls": {key: str(value) for key, value in _mapped(service.get("sysctls")).items()},
        "resource limits": {key: _limit(value) for key, value in service.get("ulimits", {}).items()},
        "read-only root": bool(service.get("read_only")),
        **_desired_check(service.get("healthcheck", {})),
        "log driver": logging.get("driver", ""),
        "log options": {key: str(value) for key, value in logging.get("options", {}).items()},
        "mounts": sorted([*(_wanted_mount(mount, document, stack) for mount in service.get("volumes", ())),
                          *(mount_text("tmpfs", "", target, False) for target in _listed(service.get("tmpfs")))]),
        "volume options": dict(option for mount in service.get("volumes", ())
                               for option in _wanted_options(mount, document, stack).items()),
        "ports": sorted(port_text(port.get("published", 0), port["target"], port) for port in service.get("ports", ())),
        "secrets": _wanted_content("secrets", service, document, stack),
        "configs": _wanted_content("configs", service, document, stack),
        "file modes": dict(_wanted_modes(service)),
        "networks": sorted({_object_name("networks", key, document, stack)
                            for key in service.get("networks") or {"default": None}} - _EACH_NODES),
        "aliases": sorted({alias for network in (service.get("networks") or {}).values()
                           for alias in (network or {}).get("aliases", ())} - {name}),
    }  # fmt: skip


def _desired_deploy(deploy: Mapping[str, Any]) -> Values:
    resources, placement = deploy.get("resources", {}), deploy.get("placement", {})
    limits, reserved = resources.get("limits", {}), resources.get("reservations", {})
    return {
        "service labels": deploy.get("labels", {}),
        "replicas": "global" if deploy.get("mode") == "global" else deploy.get("replicas", 1),
        "replicas per node": placement.get("max_replicas_per_node", 0),
        "endpoint mode": deploy.get("endpoint_mode", "vip"),
        "constraints": placement.get("constraints") or [],
        "spread over": [item["spread"] for item in placement.get("preferences") or ()],
        **_desired_update("update", deploy.get("update_config")),
        **_desired_update("rollback", deploy.get("rollback_config")),
        **_desired_restart(deploy.get("restart_policy", {})),
        "memory limit": int(limits.get("memory", 0)),
        "memory reserved": int(reserved.get("memory", 0)),
        "processors": float(limits.get("cpus", 0)),
        "processors reserved": float(reserved.get("cpus", 0)),
        "process limit": int(limits.get("pids", 0)),
    }


def _desired_update(kind: str, config: Mapping[str, Any] | None) -> Values:
    given = config or {}
    return {
        f"{kind} order": given.get("order", "stop-first"),
        f"{kind} parallelism": given.get("parallelism", 1),
        f"{kind} delay": nanoseconds(given.get("delay", "0")),
        f"{kind} monitor": nanoseconds(given.get("monitor", "0")),
        f"{kind} on failure": given.get("failure_action", "pause"),
        f"{kind} failure ratio": float(given.get("max_failure_ratio", 0)),
    }


def _desired_restart(policy: Mapping[str, Any]) -> Values:
    return {
        "restart": policy.get("condition", "any"),
        "restart delay": nanoseconds(policy.get("delay", "5s")),
        "restart attempts": policy.get("max_attempts", 0),
        "restart window": nanoseconds(policy.get("window", "0")),
    }


def _desired_check(check: Mapping[str, Any]) -> Values:
    times = {f"health {part.replace('_', ' ')}": nanoseconds(check.get(part, "0")) for part in CHECK_TIMES}
    test = ["NONE"] if check.get("disable") else check.get("test") or []
    return {"health check": test, "health retries": int(check.get("retries", 0)), **times}


def own_labels(labels: Mapping[str, str] | None) -> dict[str, str]:
    """The labels without those that `docker stack deploy` adds."""
    return {key: value for key, value in (labels or {}).items() if not key.startswith(STACK_LABELS)}


def capability(name: str) -> str:
    """A capability as the Engine names it: with CAP_."""
    return name if name.startswith("CAP_") or name == "ALL" else f"CAP_{name}"


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _mapped(value: Any) -> dict[str, Any]:
    """A mapping that may be written as a list of KEY=VALUE."""
    return dict(item.split("=", 1) for item in value) if isinstance(value, list) else dict(value or {})


def _host(entry: str) -> str:
    """An entry of /etc/hosts, as docker/cli makes it of `name:address` or `name=address`."""
    name, _, address = entry.partition("=") if "=" in entry else entry.partition(":")
    return f"{address} {name}"


def _limit(value: Any) -> str:
    soft, hard = (value["soft"], value["hard"]) if isinstance(value, Mapping) else (value, value)
    return f"{soft}:{hard}"


def file_mode(mode: int | None, uid: Any, gid: Any) -> str:
    """Mode and owner of a secret or config, for a reader."""
    # docker/cli's defaults (convertFileObject): readable by everybody, owned by root.
    return f"{0o444 if mode is None else mode:04o} {uid or 0}:{gid or 0}"


def _wanted_modes(service: Values) -> Iterable[tuple[str, str]]:
    for kind in ("secrets", "configs"):
        for item in service.get(kind, ()):
            target = item.get("target") or item["source"]
            yield target, file_mode(item.get("mode"), item.get("uid"), item.get("gid"))


def _wanted_mount(mount: Values, document: Mapping[str, Any], stack: str) -> str:
    source = mount.get("source", "")
    if mount["type"] == "volume" and source:
        source = _object_name("volumes", source, document, stack)
    return mount_text(mount["type"], source, mount["target"], mount.get("read_only", False))


def _wanted_options(mount: Values, document: Mapping[str, Any], stack: str) -> Values:
    """The options that `docker stack deploy` derives from a mount and its volume (docker/cli, handleVolumeToMount)."""
    source = mount.get("source", "")
    if mount["type"] != "volume" or not source:
        return {}
    described, own = document.get("volumes", {}).get(source) or {}, mount.get("volume") or {}
    options = {"NoCopy": own.get("nocopy"), "Subpath": own.get("subpath")}
    if not described.get("external"):
        options["DriverConfig"] = {"Name": described.get("driver"), "Options": described.get("driver_opts")}
        options["Labels"] = described.get("labels")
    name = _object_name("volumes", source, document, stack)
    return volume_options({"Type": "volume", "Source": name, "VolumeOptions": options})


def volume_options(mount: Mapping[str, Any]) -> Values:
    """The options of a mount's volume (Engine API) that differ from Docker's defaults, prefixed with its name."""
    if mount["Type"] != "volume":
        return {}
    options = mount.get("VolumeOptions") or {}
    driver = options.get("DriverConfig") or {}
    values = {
        "driver": driver.get("Name") if driver.get("Name") != "local" else None,
        **(driver.get("Options") or {}),
        **{f"label {name}": value for name, value in own_labels(options.get("Labels")).items()},
        "nocopy": options.get("NoCopy"),
        "subpath": options.get("Subpath"),
    }
    return {f"{mount.get('Source', '')} {name}": str(value) for name, value in values.items() if value}


def mount_text(kind: str, source: str, target: str, read_only: bool) -> str:
    """A mount for a reader."""
    return f"{kind} {source + ' ' if source else ''}at {target}{' (read-only)' if read_only else ''}"


def port_text(published: Any, target: Any, port: Mapping[str, Any]) -> str:
    """A published port for a reader; `port` has its protocol and mode."""
    return f"{published}→{target}/{port.get('protocol') or 'tcp'} ({port.get('mode') or 'ingress'})"


def _wanted_content(kind: str, service: Values, document: Mapping[str, Any], stack: str) -> Values:
    return {
        item.get("target") or item["source"]: _object_name(kind, item["source"], document, stack)
        for item in service.get(kind, ())
    }


def _object_name(kind: str, key: str, document: Mapping[str, Any], stack: str) -> str:
    described = document.get(kind, {}).get(key) or {}
    return str(described.get("name") or (key if described.get("external") else full_name(stack, key)))
