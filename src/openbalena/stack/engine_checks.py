"""Values that `docker stack config` accepts and the deploy refuses, or with which the Engine starts no task.

Sources: swarmkit, manager/controlapi/service.go (validateServiceSpec); docker/cli, cli/compose/convert/service.go;
moby, daemon/container.go (verifyContainerSettings) and daemon/cluster/executor/container.
"""

import ipaddress
import re
from collections.abc import Iterator
from typing import Any

from openbalena.compose.tree import Map, Position, Seq
from openbalena.compose.unique import repeated
from openbalena.stack.diagnostic import Diagnostic, Severity
from openbalena.stack.service import Service
from openbalena.stack.size import nanoseconds

_MILLISECOND = 10**6
_JOBS = ("replicated-job", "global-job")
# After the stack's name and `_`: swarmkit, manager/controlapi/common.go, isValidDNSName.
_SERVICE_NAME = re.compile(r"[-_A-Za-z0-9]*[A-Za-z0-9]")
# github.com/distribution/reference: a registry, a path, a tag and a digest.
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_DOMAIN = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
_IMAGE = re.compile(
    rf"(?:{_DOMAIN}/)?{_COMPONENT}(?:/{_COMPONENT})*(?::\w[\w.-]{{0,127}})?"
    r"(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?",
    re.ASCII,
)
_CAPABILITIES = frozenset({
    "ALL", "AUDIT_CONTROL", "AUDIT_READ", "AUDIT_WRITE", "BLOCK_SUSPEND", "BPF", "CHECKPOINT_RESTORE", "CHOWN",
    "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE", "LINUX_IMMUTABLE",
    "MAC_ADMIN", "MAC_OVERRIDE", "MKNOD", "NET_ADMIN", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_RAW", "PERFMON",
    "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYSLOG", "SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT", "SYS_MODULE", "SYS_NICE",
    "SYS_PACCT", "SYS_PTRACE", "SYS_RAWIO", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "WAKE_ALARM",
})  # fmt: skip
_LIMITS = frozenset({
    "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
    "rttime", "sigpending", "stack",
})  # fmt: skip
# On Linux, on Windows, or a variable.
_ABSOLUTE = re.compile(r"[/$\\]|[A-Za-z]:")
# moby/sys/signal: a number, or a name with or without SIG.
_SIGNAL = re.compile(
    r"(?i:[1-9]|[1-5]\d|6[0-4]|(SIG)?(ABRT|ALRM|BUS|CHLD|CLD|CONT|FPE|HUP|ILL|INT|IO|IOT|KILL|PIPE|POLL|PROF|PWR|QUIT|"
    r"SEGV|STKFLT|STOP|SYS|TERM|TRAP|TSTP|TTIN|TTOU|URG|USR1|USR2|VTALRM|WINCH|XCPU|XFSZ|"
    r"RTMIN(\+([1-9]|1[0-5]))?|RTMAX(-([1-9]|1[0-4]))?))"
)


def check_for_engine(service: Service) -> None:
    """Add a diagnostic to the compiled `service` for each value that no deploy accepts or no task starts with."""
    if not _SERVICE_NAME.fullmatch(service.name):
        message = f"the engine refuses the service name {service.name}"
        service.error("services", message, "write letters, digits, - and _, and end it with a letter or a digit",
                      service.position)  # fmt: skip
    deploy = _map(service.target, "deploy")
    _mode(service, deploy)
    _update(service, _map(deploy, "update_config"))
    _durations(service, _map(deploy, "restart_policy"), "deploy.restart_policy", ("delay", "window"), 0)
    _healthcheck(service, _map(service.target, "healthcheck"))
    _owners(service)
    _kernel(service)
    _mounts(service)
    _port_numbers(service)


def written_twice(service: Map, severity: Severity) -> Iterator[Diagnostic]:
    """Mounts, secrets and configs of a service, as written, at the path of another one.

    They are errors in a stack file; in a Compose file, a warning, as the later one replaces the other.
    """
    for key in ("volumes", "secrets", "configs"):
        items = service.get(key)
        for target, place in repeated(items, f"services.*.{key}") if isinstance(items, Seq) else ():
            if "$" not in target:
                meaning = f"the engine refuses two of {key} at {target}"
                if severity is Severity.WARNING:
                    meaning = f"replaces the one at {target} before it, as in Compose"
                yield Diagnostic(place, key, severity, meaning, "write another target for one of them")


def image_error(image: str) -> str:
    """What is wrong with the name of an image; empty if it is one, or contains a variable."""
    return "" if "$" in image or _IMAGE.fullmatch(image) else f"{image} is not the name of an image"


def check_network(name: str, network: Map) -> Iterator[Diagnostic]:
    """Diagnostics for a network of the compiled stack."""
    if network.get("external") and (network.get("name") or name) == "ingress":
        yield Diagnostic(
            network.position, "networks", Severity.ERROR, "the engine attaches no service to the network ingress",
            "leave it out: published ports use it",
        )  # fmt: skip
    for pool, place in _items(_map(network, "ipam"), "config"):
        subnet = str(pool.get("subnet", ""))
        try:
            ipaddress.ip_network(subnet, strict=False)
        except ValueError:
            if subnet and "$" not in subnet:
                yield Diagnostic(
                    pool.where.get("subnet", place), "networks.ipam.config.subnet", Severity.ERROR,
                    f"the engine refuses the subnet {subnet}", "write one such as 10.1.0.0/24",
                )  # fmt: skip


def _map(value: Map, key: str) -> Map:
    item = value.get(key)
    return item if isinstance(item, Map) else Map(position=value.at(key))


def _items(value: Map, key: str) -> list[tuple[Any, Position]]:
    items = value.get(key)
    return items.located() if isinstance(items, Seq) else []


def _mode(service: Service, deploy: Map) -> None:
    mode = deploy.get("mode")
    if mode in _JOBS and "update_config" in deploy:
        place = deploy.at("update_config")
        service.error("deploy.update_config", f"the engine refuses it for a {mode}", "remove it", place)
    if mode in ("global", "global-job") and deploy.get("replicas") is not None:
        message = f"`docker stack deploy` refuses a number of tasks for a {mode} service"
        service.error("deploy.replicas", message, "remove it", deploy.at("replicas"))


def _update(service: Service, update: Map) -> None:
    _durations(service, update, "deploy.update_config", ("delay", "monitor"), 0)
    ratio = update.get("max_failure_ratio")
    if isinstance(ratio, (int, float)) and not 0 <= ratio <= 1:
        service.error(
            "deploy.update_config.max_failure_ratio", f"the engine refuses {ratio}", "write a number from 0 to 1",
            update.at("max_failure_ratio"),
        )  # fmt: skip


def _durations(service: Service, values: Map, path: str, keys: tuple[str, ...], minimum: int) -> None:
    for key in keys:
        written = values.get(key)
        if written is None or "$" in str(written):
            continue
        duration = nanoseconds(written)
        if duration < 0 or 0 < duration < minimum:
            least = "1ms or more" if minimum else "0s or more"
            service.error(f"{path}.{key}", f"the engine refuses {written}", f"write {least}", values.at(key))


def _healthcheck(service: Service, check: Map) -> None:
    times = ("interval", "timeout", "start_period", "start_interval")
    _durations(service, check, "healthcheck", times, _MILLISECOND)
    if check.get("disable") is True and check.get("test"):
        message = "`docker stack deploy` refuses a test next to disable: true"
        service.error("healthcheck.test", message, "remove one of them", check.at("test"))


def _owners(service: Service) -> None:
    for kind in ("secrets", "configs"):
        for reference, _ in _items(service.target, kind):
            for key in ("uid", "gid"):
                written = str(reference.get(key) or "0")
                if not written.isdecimal() and "$" not in written:
                    message = f"no task starts with {written}: the engine knows only numbers of users and groups here"
                    service.error(f"{kind}.{key}", message, 'write the number, such as "1000"', reference.at(key))


def _kernel(service: Service) -> None:
    for key in ("cap_add", "cap_drop"):
        for name, place in _items(service.target, key):
            if name.upper().removeprefix("CAP_") not in _CAPABILITIES and "$" not in name:
                service.error(key, f"no task starts with {name}: there is no such capability", "correct it", place)
    limits = _map(service.target, "ulimits")
    for name, limit in limits.items():
        if name not in _LIMITS:
            message = f"no task starts with {name}: there is no such limit"
            service.error("ulimits", message, f"write one of {', '.join(sorted(_LIMITS))}", limits.at(name))
        soft, hard = (limit.get("soft"), limit.get("hard")) if isinstance(limit, Map) else (limit, limit)
        if isinstance(soft, int) and isinstance(hard, int) and hard != -1 and (soft > hard or soft == -1):
            message = f"no task starts with the soft limit {soft} over the hard one, {hard}"
            service.error("ulimits", message, "raise the hard one", limits.at(name))
    signal = str(service.target.get("stop_signal") or "TERM")
    if not _SIGNAL.fullmatch(signal) and "$" not in signal:
        service.error(
            "stop_signal", f"no task starts with {signal}: there is no such signal", "write one such as SIGTERM"
        )


def _mounts(service: Service) -> None:
    for mount, place in _items(service.target, "volumes"):
        target = str(mount.get("target", ""))
        if not _ABSOLUTE.match(target):
            service.error("volumes", f"no task starts with a mount at {target}", "write an absolute path", place)
        if mount.get("type") == "tmpfs" and mount.get("source"):
            service.error("volumes", "`docker stack deploy` refuses a tmpfs with a source", "remove it", place)


def _port_numbers(service: Service) -> None:
    for port, place in _items(service.target, "ports"):
        # An unpublished port is one that the engine chooses.
        for key, least in (("target", 1), ("published", 0)):
            number = port.get(key)
            if isinstance(number, int) and not least <= number <= 65535:
                message = f"there is no port {number}"
                service.error(f"ports.{key}", message, "write a number from 1 to 65535", port.where.get(key, place))
