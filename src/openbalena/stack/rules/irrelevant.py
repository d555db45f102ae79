"""Keys that have no effect in a cluster: left out, with a note."""

from typing import Any

from openbalena.stack.rule import Native, Rules, Status
from openbalena.stack.service import Service
from openbalena.stack.shape import OPTION, STRING, UNIQUE_STRINGS, sequence

RULES = Rules()

DEPENDS_ON = "Swarm starts services in no particular order; each must tolerate that another is unavailable"


@RULES.rule(
    "depends_on", Status.IRRELEVANT, Native.DROPPED, "let the program wait for what it needs", shape=UNIQUE_STRINGS
)
def depends_on(service: Service, value: Any) -> None:
    """Left out: Swarm starts services in no particular order. Each must wait for what it needs."""
    service.note("depends_on", DEPENDS_ON, "")


RULES.irrelevant("profiles", Native.REFUSED, "chosen when the stack is compiled: --profile NAME")
RULES.irrelevant(
    "container_name",
    Native.DROPPED,
    "each task's container has its own name; other services use the service's name",
    shape=STRING,
)
RULES.irrelevant(
    "expose", Native.DROPPED, "tasks on the same overlay network reach all of each other's ports",
    shape=sequence(OPTION, unique=True),
)  # fmt: skip
RULES.irrelevant("attach", Native.REFUSED, "nothing attaches to a task")
RULES.irrelevant("pull_policy", Native.REFUSED, "each node pulls when needed")
RULES.irrelevant("pull_refresh_after", Native.REFUSED, "each node pulls when needed")
RULES.irrelevant("develop", Native.REFUSED, "for development on a single machine")
RULES.irrelevant("annotations", Native.REFUSED, "Swarm has no annotations; labels are kept")


@RULES.rule(
    "links",
    Status.IRRELEVANT,
    Native.DROPPED,
    "reach the service by its name, or give it `networks.<name>.aliases`",
    shape=UNIQUE_STRINGS,
)
def links(service: Service, value: list[str]) -> None:
    """Left out: services on the same network reach each other by name. A link's alias must become a network alias."""
    for link in value:
        name, _, alias = link.partition(":")
        if alias and alias != name:
            service.warn("links", f"the alias {alias} for {name} is lost", f"write it as a network alias of {name}")
        else:
            service.note("links", f"{name} can be reached by name on a common network", "")
