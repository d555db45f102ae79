"""Values that the Engine refuses only when the stack is deployed, or with which the service never works."""

import re
from collections.abc import Iterator
from typing import Any

from openbalena.base.limits import MAXIMUM_BYTES, MAXIMUM_OBJECT_NAME
from openbalena.compose.paths import is_file
from openbalena.compose.tree import Map, Position, Seq
from openbalena.stack.content import ContentFile
from openbalena.stack.diagnostic import Diagnostic, Severity
from openbalena.stack.engine_checks import check_for_engine, image_error
from openbalena.stack.service import Service
from openbalena.stack.size import in_bytes

MAXIMUM_SERVICE_NAME = 63  # swarmkit, manager/controlapi: a DNS label
# swarmkit, manager/controlapi/service.go, validateResources
MINIMUM_MEMORY, MINIMUM_CPUS = 4 * 1024 * 1024, 0.001
# The values that moby and swarmkit accept; `docker stack config` does not check them.
_CHOICES: dict[tuple[str, ...], tuple[str, ...]] = {
    ("deploy", "mode"): ("replicated", "global", "replicated-job", "global-job"),
    ("deploy", "endpoint_mode"): ("vip", "dnsrr"),
    ("deploy", "restart_policy", "condition"): ("any", "on-failure", "none"),
    ("deploy", "update_config", "order"): ("stop-first", "start-first"),
    ("deploy", "update_config", "failure_action"): ("pause", "continue", "rollback"),
    ("deploy", "rollback_config", "order"): ("stop-first", "start-first"),
    ("deploy", "rollback_config", "failure_action"): ("pause", "continue"),
}
_CONSTRAINT = re.compile(
    r"(?i:\s*(node\.(id|hostname|ip|role|platform\.(os|arch)|labels\.\S+)|engine\.labels\.\S+)\s*[=!]=\s*\S.*)"
)
_CPUS = re.compile(r"\d+(\.\d{0,9}0*)?")  # docker/cli, opts.ParseCPUs: in billionths of a processor
_TAG = re.compile(r"[^/]+/.*(:[\w][\w.-]*|@\w+:\w+)|[^/]*(:[\w][\w.-]*|@\w+:\w+)")


def check_service(service: Service) -> None:
    """Add a diagnostic to the compiled `service` for each invalid value."""
    if len(service.name) > MAXIMUM_SERVICE_NAME:
        service.error("services", "a service name has at most 63 characters", "choose a shorter name", service.position)
    for path, choices in _CHOICES.items():
        _choice(service, path, choices)
    deploy = service.target.get("deploy") or Map()
    for constraint, place in _items(deploy.get("placement"), "constraints"):
        if not _CONSTRAINT.fullmatch(constraint) and "$" not in constraint:
            service.error(
                "deploy.placement.constraints", f"the engine refuses {constraint}",
                "write node.labels.x == y, node.role, node.hostname, node.id or node.platform.os", place,
            )  # fmt: skip
    for kind in ("limits", "reservations"):
        _resources(service, kind, (deploy.get("resources") or Map()).get(kind) or Map())
    _ports(service, deploy)
    _targets(service)
    _image(service)
    check_for_engine(service)


def check_content(content: ContentFile, place: Position, *, interpolated: bool) -> Iterator[Diagnostic]:
    """Diagnostics for a secret or config, as far as it can be checked before it is rendered.

    Without `interpolated`, the value of a variable is not known.
    """
    kind = content.path.partition("/")[0]
    limit = MAXIMUM_BYTES[kind]
    size = content.source.stat().st_size if content.source is not None and is_file(content.source) else 0
    if (content.text == "" and interpolated) or (size == 0 and content.source is not None and is_file(content.source)):
        yield Diagnostic(
            place, kind, Severity.ERROR, f"{content.key} is empty, which the engine refuses",
            "give it content, or remove it",
        )  # fmt: skip
    if size > limit:
        message = f"{content.source} has {size} bytes; Swarm allows at most {limit} in one of {kind}"
        yield Diagnostic(place, kind, Severity.ERROR, message, "mount a volume instead")
    if len(content.name) > MAXIMUM_OBJECT_NAME and "$" not in content.name:
        message = f"{content.name} is longer than the {MAXIMUM_OBJECT_NAME} characters that the engine allows"
        yield Diagnostic(place, kind, Severity.ERROR, message, "choose a shorter name")


def _items(value: Any, key: str) -> list[tuple[Any, Position]]:
    items = value.get(key) if isinstance(value, Map) else None
    return items.located() if isinstance(items, Seq) else []


def _choice(service: Service, path: tuple[str, ...], choices: tuple[str, ...]) -> None:
    place: Any = service.target
    for key in path[:-1]:
        place = place.get(key)
        if not isinstance(place, Map):
            return
    value = place.get(path[-1])
    if value == "" and path[-1] != "order":
        return  # moby's default; `docker stack` refuses an empty order alone
    if value is not None and value not in choices and "$" not in str(value):
        instead = "any (for always and unless-stopped), on-failure or none" if path[-1] == "condition" else (
            " or ".join(choices)
        )  # fmt: skip
        service.error(
            ".".join(path), f"the engine refuses {value} when it is deployed", f"write {instead}", place.at(path[-1])
        )


def _resources(service: Service, kind: str, resources: Map) -> None:
    place = resources.at("memory")
    memory = in_bytes(resources.get("memory", 0), place)
    if isinstance(memory, int) and 0 < memory < MINIMUM_MEMORY:
        service.error(
            f"deploy.resources.{kind}.memory", "the engine refuses less than 4 MiB", "write 4m or more", place
        )
    cpus = str(resources.get("cpus", 0))
    if "$" not in cpus and not _CPUS.fullmatch(cpus):
        service.error(
            f"deploy.resources.{kind}.cpus", f"`docker stack deploy` refuses {cpus}",
            "write a number with at most nine decimals", resources.at("cpus"),
        )  # fmt: skip
    elif "$" not in cpus and 0 < float(cpus) < MINIMUM_CPUS:
        service.error(
            f"deploy.resources.{kind}.cpus", "the engine refuses less than 0.001 processors", "write 0.001 or more",
            resources.at("cpus"),
        )  # fmt: skip


def _ports(service: Service, deploy: Map) -> None:
    seen: set[tuple[Any, Any, Any]] = set()
    update = deploy.get("update_config") or Map()
    for port, place in _items(service.target, "ports"):
        mode, protocol = port.get("mode", "ingress"), port.get("protocol", "tcp")
        for value, choices in ((mode, ("host", "ingress")), (protocol, ("tcp", "udp", "sctp"))):
            if value not in choices and "$" not in value:
                service.error("ports", f"the engine does not support {value}", f"write {' or '.join(choices)}", place)
        if port.get("published"):
            identity = (port["published"], protocol, mode)
            if identity in seen:
                service.error("ports", f"{identity[0]} is published twice", "publish it once", place)
            seen.add(identity)
        if mode == "host" and port.get("published") and update.get("order") == "start-first":
            service.error(
                "ports", "with order: start-first the new task waits forever for a port that the old one uses",
                "write deploy.update_config.order: stop-first", place,
            )  # fmt: skip
        if (
            mode == "host"
            and port.get("published")
            and isinstance(deploy.get("replicas"), int)
            and deploy["replicas"] > 1
        ):
            service.warn(
                "ports", f"each of the {deploy['replicas']} tasks needs its own node for a port in host mode",
                "add nodes, or write deploy.mode: global with a placement constraint", place,
            )  # fmt: skip
        if mode != "host" and deploy.get("endpoint_mode") == "dnsrr":
            service.error(
                "ports", "the engine refuses ports in ingress mode with endpoint_mode: dnsrr", "write mode: host", place
            )


def _mount_points(service: Service) -> Iterator[tuple[str, str, Position]]:
    for key, directory in (("volumes", ""), ("secrets", "/run/secrets/"), ("configs", "/")):
        for item, place in _items(service.target, key):
            target = str(item.get("target") or item.get("source", ""))
            yield key, target if target.startswith(("/", "$")) or key == "volumes" else directory + target, place


def _targets(service: Service) -> None:
    seen: set[str] = set()
    for key, target, place in _mount_points(service):
        if target in seen:
            service.error(key, f"the engine refuses two mounts at {target}", "mount one of them elsewhere", place)
        seen.add(target)


def _image(service: Service) -> None:
    image = str(service.target.get("image", ""))
    if not image:
        service.error(
            "image",
            f"the service {service.name} has no image",
            "write image:, or correct the name if another service is meant",
            service.position,
        )
    elif wrong := image_error(image):
        service.error("image", wrong, "write it as [registry/]name:tag, its name in lower case")
    elif "$" not in image and service.build is None and not _TAG.fullmatch(image):
        service.warn(
            "image", f"{image} has no tag: nodes may run different versions of latest", "write a tag or a digest"
        )
