"""Show every service of this machine's deployment, failing ones first. The exit code is 1 unless all are healthy."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from openbalena.cli import next_steps
from openbalena.cli.context import Context

if TYPE_CHECKING:
    from openbalena.machine.containers import ComposeService


def configure(parser: argparse.ArgumentParser) -> None:
    """One option."""
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace, context: Context) -> int:
    """Exit code 0 when every service is healthy, 1 otherwise."""
    from openbalena.operations.machine_services import read_status

    found = read_status(context.workspace)
    if args.json:
        services = [_record(service) for service in found.services]
        context.console.json({"project": found.name, "healthy": found.healthy, "services": services})
    else:
        _table(context, found.services)
        for name in found.orphans:
            context.console.warn(f"{name} is running, but is no longer in the settings: `up` removes it")
        if found.healthy:
            for line in next_steps.of(found.settings, context):
                context.console.progress(line)
    return 0 if found.healthy else 1


def _table(context: Context, seen: Sequence["ComposeService"]) -> None:
    from openbalena.machine.containers import ContainerPhase

    order = list(ContainerPhase)
    rows = [("SERVICE", "STATE", "DETAIL", "PORTS", "IMAGE")]
    for service in sorted(seen, key=lambda item: (-order.index(item.phase), item.name)):
        ports = ", ".join(port for each in service.containers for port in each.ports)
        image = service.containers[0].image if service.containers else ""
        rows.append((service.name, service.phase.value, service.detail, ports or "-", image or "-"))
    context.console.table(rows)


def _record(service: "ComposeService") -> dict[str, object]:
    return {
        "service": service.name,
        "state": service.phase.value,
        "detail": service.detail,
        "containers": [{**asdict(each), "phase": each.phase.value} for each in service.containers],
    }
