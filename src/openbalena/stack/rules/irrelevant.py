"""Keys that a cluster has no use for: left out, and said so."""

from typing import Any

from openbalena.stack.rule import Native, Rules, Status
from openbalena.stack.service import Service

RULES = Rules()

DEPENDS_ON = "Swarm starts services in no order; each has to tolerate that another is not there"


@RULES.rule("depends_on", Status.IRRELEVANT, Native.DROPPED, "let the program wait for what it needs")
def depends_on(service: Service, value: Any) -> None:
    """Left out: Swarm starts services in no order, so each has to wait for what it needs, as after any node's loss."""
    service.note("depends_on", DEPENDS_ON, "")


RULES.irrelevant("profiles", Native.REFUSED, "chosen when the stack is compiled: --profile NAME")
RULES.irrelevant(
    "container_name", Native.DROPPED, "each task's container has a name of its own; others reach the service's"
)
RULES.irrelevant("expose", Native.DROPPED, "tasks on one overlay network reach all of each other's ports")
RULES.irrelevant("attach", Native.REFUSED, "nothing attaches to a task")
RULES.irrelevant("pull_policy", Native.REFUSED, "each node pulls when it has to")
RULES.irrelevant("pull_refresh_after", Native.REFUSED, "each node pulls when it has to")
RULES.irrelevant("develop", Native.REFUSED, "for work on one machine")
RULES.irrelevant("annotations", Native.REFUSED, "Swarm has no annotations; labels are kept")


@RULES.rule(
    "links", Status.IRRELEVANT, Native.DROPPED, "reach the service by its name, or give it `networks.<name>.aliases`"
)
def links(service: Service, value: list[str]) -> None:
    """Left out: services on one network reach each other by name. A link's own name has to become a network alias."""
    for link in value:
        name, _, alias = link.partition(":")
        if alias and alias != name:
            service.warn("links", f"the name {alias} for {name} is lost", f"write it as a network alias of {name}")
        else:
            service.note("links", f"{name} is reached by its name on a common network", "")
