"""What a deploy would change: compares a stack, as `docker stack config` prints it, with the services that are running.

Values of environment variables are never shown, as they may be secret for images that read secrets only from there.
Nor are volume options: they may contain a CIFS server's password.
"""

import re
from collections.abc import Mapping
from typing import Any

from openbalena.base.names import STACK_LABELS, full_name

_DURATION = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)")
_NANOSECONDS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
# Lists whose order does not matter.
_LISTS = ("mounts", "ports", "constraints", "capabilities", "dropped capabilities", "networks")
# The Engine does not list the swarm ids of these networks (moby, daemon/cluster, GetNetworks).
_EACH_NODES = {"host", "bridge"}
Values = dict[str, Any]


def changed_services(
    document: Mapping[str, Any],
    running: Mapping[str, Mapping[str, Any]],
    stack: str,
    networks: Mapping[str, str],
) -> dict[str, list[str]]:
    """What would change, by service: `running` maps a service's name in the stack to its Spec (Engine API v1.44).

    `networks` maps ids of the swarm's networks, as a Spec has them, to names. An empty list means no changes.
    """
    changes: dict[str, list[str]] = {}
    for name, service in document.get("services", {}).items():
        spec = running.get(name)
        changes[name] = (
            ["is new"] if spec is None else _changed(_desired(name, service, document, stack), _actual(spec, networks))
        )
    changes.update({name: ["will be removed (no longer in the stack)"] for name in running if name not in changes})
    return dict(sorted(changes.items()))


def _changed(desired: Values, actual: Values) -> list[str]:
    lines: list[str] = []
    for title, new in desired.items():
        old = actual[title]
        if isinstance(new, dict):
            lines += _mapping(title, old, new)
        elif isinstance(new, list) and title in _LISTS:
            lines += [f"{title}: + {item}" for item in new if item not in old]
            lines += [f"{title}: - {item}" for item in old if item not in new]
        elif new != old:
            lines.append(f"{title}: {_shown(old)} → {_shown(new)}")
    return lines


def _mapping(title: str, old: Values, new: Values) -> list[str]:
    hidden = title in ("environment", "volume options")
    lines = []
    for key in sorted({*old, *new}):
        if key not in old:
            lines.append(f"{title}: + {key}{'' if hidden else ' ' + _shown(new[key])}")
        elif key not in new:
            lines.append(f"{title}: - {key}")
        elif old[key] != new[key]:
            shown = "has another value" if hidden else f"{_shown(old[key])} → {_shown(new[key])}"
            lines.append(f"{title}: {key} {shown}")
    return lines


def _shown(value: Any) -> str:
    if value in (None, "", [], {}):
        return "(none)"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _desired(name: str, service: Values, document: Mapping[str, Any], stack: str) -> Values:
    deploy = service.get("deploy", {})
    resources, placement = deploy.get("resources", {}), deploy.get("placement", {})
    update = deploy.get("update_config", {})
    policy, check = deploy.get("restart_policy", {}), service.get("healthcheck", {})
    return {
        "image": service.get("image", ""),
        "entrypoint": service.get("entrypoint") or [],
        "command": service.get("command") or [],
        "user": str(service.get("user", "")),
        "hostname": service.get("hostname", ""),
        "environment": {key: value or "" for key, value in service.get("environment", {}).items()},
        "labels": service.get("labels", {}),
        "service labels": deploy.get("labels", {}),
        "replicas": "global" if deploy.get("mode") == "global" else deploy.get("replicas", 1),
        "endpoint mode": deploy.get("endpoint_mode", "vip"),
        "constraints": placement.get("constraints") or [],
        "update order": update.get("order", "stop-first"),
        "on a failed update": update.get("failure_action", "pause"),
        "restart": policy.get("condition", "any"),
        "restart delay": _time(policy.get("delay", "5s")),
        "memory limit": int(resources.get("limits", {}).get("memory", 0)),
        "memory reserved": int(resources.get("reservations", {}).get("memory", 0)),
        "processors": float(resources.get("limits", {}).get("cpus", 0)),
        "grace period": _time(service.get("stop_grace_period", "10s")),
        "capabilities": sorted(_capability(item) for item in service.get("cap_add", ())),
        "dropped capabilities": sorted(_capability(item) for item in service.get("cap_drop", ())),
        "read-only root": bool(service.get("read_only")),
        "health check": ["NONE"] if check.get("disable") else check.get("test") or [],
        "health interval": _time(check.get("interval", "0")),
        "mounts": sorted(_wanted_mount(mount, document, stack) for mount in service.get("volumes", ())),
        "volume options": dict(option for mount in service.get("volumes", ())
                               for option in _wanted_options(mount, document, stack).items()),
        "ports": sorted(_port(port.get("published", 0), port["target"], port) for port in service.get("ports", ())),
        "secrets": _wanted_content("secrets", service, document, stack),
        "configs": _wanted_content("configs", service, document, stack),
        "networks": sorted({_object_name("networks", key, document, stack)
                            for key in service.get("networks") or {"default": None}} - _EACH_NODES),
        "aliases": sorted({alias for network in (service.get("networks") or {}).values()
                           for alias in (network or {}).get("aliases", ())} - {name}),
    }  # fmt: skip


def _actual(spec: Mapping[str, Any], networks: Mapping[str, str]) -> Values:
    task = spec.get("TaskTemplate", {})
    container = task.get("ContainerSpec", {})
    resources, policy = task.get("Resources") or {}, task.get("RestartPolicy") or {}
    update, check = spec.get("UpdateConfig") or {}, container.get("Healthcheck") or {}
    mode = spec.get("Mode", {})
    name = spec.get("Name", "").partition("_")[2]
    pairs = (variable.partition("=") for variable in container.get("Env") or ())
    return {
        "image": container.get("Image", "").partition("@sha256:")[0],
        "entrypoint": container.get("Command") or [],
        "command": container.get("Args") or [],
        "user": container.get("User", ""),
        "hostname": container.get("Hostname", ""),
        "environment": {key: value for key, _, value in pairs},
        "labels": _own(container.get("Labels")),
        "service labels": _own(spec.get("Labels")),
        "replicas": "global" if "Global" in mode else mode.get("Replicated", {}).get("Replicas", 1),
        "endpoint mode": (spec.get("EndpointSpec") or {}).get("Mode", "vip"),
        "constraints": (task.get("Placement") or {}).get("Constraints") or [],
        "update order": update.get("Order", "stop-first"),
        "on a failed update": update.get("FailureAction", "pause"),
        "restart": policy.get("Condition", "any"),
        "restart delay": policy.get("Delay", 5 * 10**9),
        "memory limit": (resources.get("Limits") or {}).get("MemoryBytes", 0),
        "memory reserved": (resources.get("Reservations") or {}).get("MemoryBytes", 0),
        "processors": (resources.get("Limits") or {}).get("NanoCPUs", 0) / 1e9,
        "grace period": container.get("StopGracePeriod") or 10 * 10**9,
        "capabilities": sorted(_capability(item) for item in container.get("CapabilityAdd") or ()),
        "dropped capabilities": sorted(_capability(item) for item in container.get("CapabilityDrop") or ()),
        "read-only root": bool(container.get("ReadOnly")),
        "health check": check.get("Test") or [],
        "health interval": check.get("Interval", 0),
        "mounts": sorted(_mount(item["Type"], item.get("Source", ""), item["Target"], item.get("ReadOnly", False))
                         for item in container.get("Mounts") or ()),
        "volume options": dict(option for item in container.get("Mounts") or ()
                               for option in _options(item).items()),
        "ports": sorted(_port(port.get("PublishedPort", 0), port["TargetPort"],
                              {"protocol": port.get("Protocol"), "mode": port.get("PublishMode")})
                        for port in (spec.get("EndpointSpec") or {}).get("Ports") or ()),
        "secrets": {item["File"]["Name"]: item["SecretName"] for item in container.get("Secrets") or ()},
        "configs": {item["File"]["Name"]: item["ConfigName"] for item in container.get("Configs") or ()},
        "networks": sorted(networks[item["Target"]] for item in task.get("Networks") or ()
                           if item["Target"] in networks),
        "aliases": sorted({alias for network in task.get("Networks") or ()
                           for alias in network.get("Aliases") or ()} - {name}),
    }  # fmt: skip


def _own(labels: Mapping[str, str] | None) -> dict[str, str]:
    return {key: value for key, value in (labels or {}).items() if not key.startswith(STACK_LABELS)}


def _capability(name: str) -> str:
    return name if name.startswith("CAP_") or name == "ALL" else f"CAP_{name}"


def _time(value: Any) -> int:
    """Nanoseconds of a Go duration."""
    return round(sum(float(number) * _NANOSECONDS[unit] for number, unit in _DURATION.findall(str(value))))


def _wanted_mount(mount: Values, document: Mapping[str, Any], stack: str) -> str:
    source = mount.get("source", "")
    if mount["type"] == "volume" and source:
        source = _object_name("volumes", source, document, stack)
    return _mount(mount["type"], source, mount["target"], mount.get("read_only", False))


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
    return _options({"Type": "volume", "Source": name, "VolumeOptions": options})


def _options(mount: Mapping[str, Any]) -> Values:
    """The options of a mount's volume (Engine API) that differ from Docker's defaults, prefixed with its name."""
    if mount["Type"] != "volume":
        return {}
    options = mount.get("VolumeOptions") or {}
    driver = options.get("DriverConfig") or {}
    values = {
        "driver": driver.get("Name") if driver.get("Name") != "local" else None,
        **(driver.get("Options") or {}),
        **{f"label {name}": value for name, value in _own(options.get("Labels")).items()},
        "nocopy": options.get("NoCopy"),
        "subpath": options.get("Subpath"),
    }
    return {f"{mount.get('Source', '')} {name}": str(value) for name, value in values.items() if value}


def _mount(kind: str, source: str, target: str, read_only: bool) -> str:
    return f"{kind} {source + ' ' if source else ''}at {target}{' (read-only)' if read_only else ''}"


def _port(published: Any, target: Any, port: Mapping[str, Any]) -> str:
    return f"{published}→{target}/{port.get('protocol') or 'tcp'} ({port.get('mode') or 'ingress'})"


def _wanted_content(kind: str, service: Values, document: Mapping[str, Any], stack: str) -> Values:
    return {
        item.get("target") or item["source"]: _object_name(kind, item["source"], document, stack)
        for item in service.get(kind, ())
    }


def _object_name(kind: str, key: str, document: Mapping[str, Any], stack: str) -> str:
    described = document.get(kind, {}).get(key) or {}
    return str(described.get("name") or (key if described.get("external") else full_name(stack, key)))
