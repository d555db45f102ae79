"""Shows every service of this machine's deployment, what fails first. The exit code is 1 unless all are healthy."""

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from openbalena.cli import next_steps
from openbalena.cli.context import Context

if TYPE_CHECKING:
    from openbalena.standalone.containers import Service


def configure(parser: argparse.ArgumentParser) -> None:
    """One option."""
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace, context: Context) -> int:
    """Exit code 0 when every service is healthy, 1 otherwise."""
    from openbalena.standalone import containers, deployment

    standalone = deployment.load(context.project, lab=context.lab)
    with standalone.engine.client() as client:
        known = containers.read(client, standalone.name)
    seen = containers.services(known, standalone.services)
    strays = sorted({each.service for each in known} - set(standalone.services))
    healthy = all(service.phase is containers.Phase.READY for service in seen)
    if args.json:
        context.console.json({"project": standalone.name, "healthy": healthy, "services": [_record(s) for s in seen]})
    else:
        _table(context, seen)
        for name in strays:
            context.console.warn(f"{name} runs, but the settings no longer have it: up removes it")
        if healthy:
            for line in next_steps.of(standalone.settings, context):
                context.console.progress(line)
    return 0 if healthy else 1


def _table(context: Context, seen: list["Service"]) -> None:
    from openbalena.standalone.containers import Phase

    order = list(Phase)
    rows = [("SERVICE", "STATE", "DETAIL", "PORTS", "IMAGE")]
    for service in sorted(seen, key=lambda item: (-order.index(item.phase), item.name)):
        ports = ", ".join(port for each in service.containers for port in each.ports)
        image = service.containers[0].image if service.containers else ""
        rows.append((service.name, service.phase.value, service.detail, ports or "-", image or "-"))
    context.console.table(rows)


def _record(service: "Service") -> dict[str, object]:
    return {
        "service": service.name,
        "state": service.phase.value,
        "detail": service.detail,
        "containers": [{**asdict(each), "phase": each.phase.value} for each in service.containers],
    }
