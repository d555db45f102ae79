"""Keys that Swarm supports as Compose does, and those that need a different form."""

from typing import Any

from openbalena.compose.tree import Map, Seq
from openbalena.stack.rule import Native, Rules, Status
from openbalena.stack.service import Service
from openbalena.stack.shape import (
    BOOLEAN,
    COMMAND,
    DURATION,
    KEY_VALUES,
    ONE_OR_MANY,
    OPTION,
    STRING,
    TEXT,
    UNIQUE_STRINGS,
    as_written,
    either,
    exact_integer,
    mapping,
    names,
    number,
    sequence,
    since,
)

RULES = Rules()

_LIMIT = exact_integer()
_ULIMITS = names(either(_LIMIT, mapping({"soft": _LIMIT, "hard": _LIMIT}, required=("soft", "hard"))))
_HEALTHCHECK = mapping({
    "test": COMMAND, "interval": DURATION, "timeout": DURATION, "retries": number(0),
    "start_period": since(4, DURATION), "start_interval": since(12, DURATION), "disable": BOOLEAN,
})  # fmt: skip
_REFERENCE = {"source": STRING, "target": STRING, "uid": STRING, "gid": STRING, "mode": number(0)}
_REFERENCES = sequence(either(STRING, mapping(_REFERENCE, closed=False)))
_BUILD = either(STRING, mapping({
    "context": STRING, "dockerfile": STRING, "args": KEY_VALUES, "labels": since(3, KEY_VALUES),
    "cache_from": since(2, UNIQUE_STRINGS), "network": since(4, STRING), "target": since(4, STRING),
    "shm_size": since(5, OPTION), "extra_hosts": since(9, KEY_VALUES),
}, closed=False))  # fmt: skip

RULES.supported("image", STRING, "each node pulls it, unless it has it already")
RULES.supported("command", COMMAND, "the task's arguments")
RULES.supported("entrypoint", COMMAND, "the task's command")
RULES.supported("labels", KEY_VALUES, "labels of the container; `deploy.labels` are the service's")
RULES.supported("hostname", STRING, "may contain templates such as {{.Node.Hostname}}")
RULES.supported("user", STRING, "as in Compose")
RULES.supported("working_dir", STRING, "as in Compose")
RULES.supported("stdin_open", BOOLEAN, "as in Compose")
RULES.supported("read_only", BOOLEAN, "as in Compose")
RULES.supported("init", since(7, as_written(BOOLEAN)), "as in Compose")
RULES.supported("isolation", since(5, STRING), "Windows only")
RULES.supported(
    "credential_spec",
    since(3, mapping({"config": since(8, STRING), "file": STRING, "registry": STRING})),
    "Windows only",
)
RULES.supported("cap_add", UNIQUE_STRINGS, "supported since Engine 20.10")
RULES.supported("cap_drop", UNIQUE_STRINGS, "supported since Engine 20.10")
RULES.supported("sysctls", KEY_VALUES, "supported since Engine 20.10")
RULES.supported("ulimits", _ULIMITS, "supported since Engine 20.10")
RULES.supported("extra_hosts", KEY_VALUES, "supported since Engine 20.10")
RULES.supported("dns", ONE_OR_MANY, "as in Compose")
RULES.supported("dns_search", ONE_OR_MANY, "as in Compose")
RULES.supported(
    "logging",
    mapping({"driver": STRING, "options": names(TEXT, closed=False)}),
    "as in Compose, on the node of the task",
)
RULES.supported("stop_grace_period", DURATION, "counts from SIGTERM; the default is 10 s")
RULES.supported("stop_signal", STRING, "as in Compose")


@RULES.rule("environment", Status.SUPPORTED, Native.KEPT, shape=KEY_VALUES)
def environment(service: Service, value: Map) -> None:
    """Kept; the nodes do not read .env. A variable that is not set is left out.

    If a variable is empty or has no value in the file, `docker stack deploy` uses the deploying shell's value. The
    deploy.env of a rendered directory sets the empty ones to the empty string.
    """
    unset = [key for key, text in value.items() if text is None] if service.interpolated else []
    for key in unset:
        service.note("environment", f"{key} is not set, so the tasks do not have it", "", value.at(key))
    service.put("environment", value.without(unset), service.at("environment"))


@RULES.rule("tty", Status.SUPPORTED, Native.KEPT, shape=BOOLEAN)
def tty(service: Service, value: Any) -> None:
    """Kept. `docker service logs` then refuses to show anything without --raw."""
    if value:
        service.put("tty", value, service.at("tty"))
        service.warn("tty", "`docker service logs` refuses a service with a terminal without --raw", "leave tty out")


@RULES.rule("healthcheck", Status.SUPPORTED, Native.KEPT, shape=_HEALTHCHECK)
def healthcheck(service: Service, value: Map) -> None:
    """Kept; DNS lists a task only while it is healthy. start_interval requires Engine 25 (API 1.44)."""
    service.put("healthcheck", value, service.at("healthcheck"))


@RULES.rule("secrets", Status.SUPPORTED, Native.KEPT, shape=since(1, _REFERENCES))
def secrets(service: Service, value: Seq) -> None:
    """Kept: the content is deployed as a Swarm secret; `content`, `environment` and `file` become files."""
    _references(service, "secrets", value)


@RULES.rule("configs", Status.SUPPORTED, Native.KEPT, shape=since(3, _REFERENCES))
def configs(service: Service, value: Seq) -> None:
    """Kept: the content is deployed as a Swarm config; `content`, `environment` and `file` become files."""
    _references(service, "configs", value)


def _references(service: Service, key: str, value: Seq) -> None:
    service.put(key, value, service.at(key))
    for reference in value:
        if isinstance(reference.get("mode"), str):
            # docker/cli 28.2, cli/compose/loader/interpolate.go: toInt
            message = "`docker stack` reads a variable's value as decimal: 0400 becomes 0620"
            service.warn(f"{key}.mode", message, "write the mode without a variable", reference.at("mode"))


@RULES.rule(
    "build", Status.TRANSLATED, Native.DROPPED, "build the image first, name it with `image:`, and push it",
    shape=_BUILD,
)  # fmt: skip
def build(service: Service, value: Map) -> None:
    """Becomes `image`: a cluster does not build, so the image is built first and distributed to every node."""
    service.build = value
    name, instead = service.source.get("image"), "build it and push it to a registry that every node can reach"
    if not name:
        name = f"{service.project}-{service.name}"
        service.put("image", name, service.at("build"))
        instead = "build and push it, and name it with image:"
    service.note("build", f"a cluster does not build: the image {name} must be on every node", instead)
