"""A running service's Spec (Engine API v1.44, ServiceSpec) as values to compare with `desired_values`."""

from collections.abc import Mapping
from typing import Any

from openbalena.stack.service_values import (
    CHECK_TIMES,
    Values,
    capability,
    file_mode,
    mount_text,
    own_labels,
    port_text,
    volume_options,
)


def actual_values(spec: Mapping[str, Any], networks: Mapping[str, str]) -> Values:
    """The values in a running service's Spec; `networks` maps ids of the swarm's networks to names."""
    task = spec.get("TaskTemplate", {})
    container = task.get("ContainerSpec", {})
    logging = task.get("LogDriver") or {}
    name, resolver = spec.get("Name", "").partition("_")[2], container.get("DNSConfig") or {}
    pairs = (variable.partition("=") for variable in container.get("Env") or ())
    files = [*(container.get("Secrets") or ()), *(container.get("Configs") or ())]
    return {
        "image": container.get("Image", ""),
        "entrypoint": container.get("Command") or [],
        "command": container.get("Args") or [],
        "user": container.get("User", ""),
        "groups": container.get("Groups") or [],
        "working directory": container.get("Dir", ""),
        "hostname": container.get("Hostname", ""),
        "hosts": sorted(container.get("Hosts") or ()),
        "DNS servers": resolver.get("Nameservers") or [],
        "DNS search": resolver.get("Search") or [],
        "environment": {key: value for key, _, value in pairs},
        "labels": own_labels(container.get("Labels")),
        **_actual_deploy(spec),
        "grace period": container.get("StopGracePeriod") or 10 * 10**9,
        "stop signal": container.get("StopSignal", ""),
        "init": bool(container.get("Init")),
        "terminal": [bool(container.get("OpenStdin")), bool(container.get("TTY"))],
        "isolation": container.get("Isolation") or "default",
        "capabilities": sorted(capability(item) for item in container.get("CapabilityAdd") or ()),
        "dropped capabilities": sorted(capability(item) for item in container.get("CapabilityDrop") or ()),
        "sysctls": container.get("Sysctls") or {},
        "resource limits": {item["Name"]: f"{item['Soft']}:{item['Hard']}" for item in container.get("Ulimits") or ()},
        "read-only root": bool(container.get("ReadOnly")),
        **_actual_check(container.get("Healthcheck") or {}),
        "log driver": logging.get("Name", ""),
        "log options": logging.get("Options") or {},
        "mounts": sorted(mount_text(item["Type"], item.get("Source", ""), item["Target"], item.get("ReadOnly", False))
                         for item in container.get("Mounts") or ()),
        "volume options": dict(option for item in container.get("Mounts") or ()
                               for option in volume_options(item).items()),
        "ports": sorted(port_text(port.get("PublishedPort", 0), port["TargetPort"],
                              {"protocol": port.get("Protocol"), "mode": port.get("PublishMode")})
                        for port in (spec.get("EndpointSpec") or {}).get("Ports") or ()),
        "secrets": {item["File"]["Name"]: item["SecretName"] for item in container.get("Secrets") or ()},
        "configs": {item["File"]["Name"]: item["ConfigName"] for item in container.get("Configs") or ()},
        "file modes": {item["File"]["Name"]: file_mode(item["File"].get("Mode"), item["File"].get("UID"),
                                                        item["File"].get("GID")) for item in files},
        "networks": sorted(networks[item["Target"]] for item in task.get("Networks") or ()
                           if item["Target"] in networks),
        "aliases": sorted({alias for network in task.get("Networks") or ()
                           for alias in network.get("Aliases") or ()} - {name}),
    }  # fmt: skip


def _actual_deploy(spec: Mapping[str, Any]) -> Values:
    task, mode = spec.get("TaskTemplate", {}), spec.get("Mode", {})
    resources, placement = task.get("Resources") or {}, task.get("Placement") or {}
    limits, reserved = resources.get("Limits") or {}, resources.get("Reservations") or {}
    return {
        "service labels": own_labels(spec.get("Labels")),
        "replicas": "global" if "Global" in mode else mode.get("Replicated", {}).get("Replicas", 1),
        "replicas per node": placement.get("MaxReplicas", 0),
        "endpoint mode": (spec.get("EndpointSpec") or {}).get("Mode", "vip"),
        "constraints": placement.get("Constraints") or [],
        "spread over": [item["Spread"]["SpreadDescriptor"] for item in placement.get("Preferences") or ()],
        **_actual_update("update", spec.get("UpdateConfig")),
        **_actual_update("rollback", spec.get("RollbackConfig")),
        **_actual_restart(task.get("RestartPolicy") or {}),
        "memory limit": limits.get("MemoryBytes", 0),
        "memory reserved": reserved.get("MemoryBytes", 0),
        "processors": limits.get("NanoCPUs", 0) / 1e9,
        "processors reserved": reserved.get("NanoCPUs", 0) / 1e9,
        "process limit": limits.get("Pids", 0),
    }


def _actual_update(kind: str, config: Mapping[str, Any] | None) -> Values:
    given = config or {}
    return {
        f"{kind} order": given.get("Order") or "stop-first",
        # Zero is a value: all tasks at once.
        f"{kind} parallelism": given.get("Parallelism", 0) if config else 1,
        f"{kind} delay": given.get("Delay", 0),
        f"{kind} monitor": given.get("Monitor", 0),
        f"{kind} on failure": given.get("FailureAction") or "pause",
        f"{kind} failure ratio": float(given.get("MaxFailureRatio", 0)),
    }


def _actual_restart(policy: Mapping[str, Any]) -> Values:
    return {
        "restart": policy.get("Condition", "any"),
        "restart delay": policy.get("Delay", 5 * 10**9),
        "restart attempts": policy.get("MaxAttempts", 0),
        "restart window": policy.get("Window", 0),
    }


def _actual_check(check: Mapping[str, Any]) -> Values:
    times = {f"health {part.replace('_', ' ')}": check.get(key, 0) for part, key in CHECK_TIMES.items()}
    return {"health check": check.get("Test") or [], "health retries": check.get("Retries", 0), **times}
