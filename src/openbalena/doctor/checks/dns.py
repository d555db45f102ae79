"""DNS of an overlay network, which must have exactly the running tasks."""

from __future__ import annotations

from collections.abc import Iterator

from openbalena.doctor.facts import Facts
from openbalena.doctor.findings import DoctorFinding, Severity


def check(facts: Facts) -> Iterator[DoctorFinding]:
    """An error for addresses of tasks that no longer run, a warning for those that are missing.

    The nodes gossip about tasks on port 7946 (moby, libnetwork/networkdb), and each answers its own tasks from what it
    knows.
    """
    everyone = frozenset(facts.network.tasks)
    for node in facts.cluster.nodes:
        found = facts.overlay.get(node.id)
        if found is None:
            continue
        missing = sorted({facts.cluster.hostname(facts.network.tasks[each]) for each in everyone - found.peers})
        if missing:
            yield DoctorFinding(
                "dns",
                Severity.WARNING,
                node.hostname,
                f"it does not learn about tasks on {', '.join(missing)}",
                "allow 7946/tcp and 7946/udp between all nodes; if they are allowed, restart Docker there",
            )
            continue
        for service, answered in sorted(found.answers.items()):
            stale = answered - facts.network.possible.get(service, frozenset())
            lacking = facts.network.stable.get(service, frozenset()) - answered
            if stale or lacking:
                what = "has addresses of tasks that do not run" if stale else "lacks running tasks"
                yield DoctorFinding(
                    "dns",
                    Severity.ERROR if stale else Severity.WARNING,
                    node.hostname,
                    f"its DNS {what} for {service}",
                    f"run `docker service update --force {facts.settings['STACK_NAME']}_{service}`; if it recurs, "
                    "restart Docker there",
                    ", ".join(sorted(stale or lacking)),
                )
