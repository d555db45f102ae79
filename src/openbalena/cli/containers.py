"""stop, restart, down and destroy: what is done to the containers of this machine's deployment."""

import argparse
from typing import TYPE_CHECKING

from openbalena.cli.context import Context
from openbalena.cli.numbers import seconds
from openbalena.errors import OperationError, UsageError

if TYPE_CHECKING:
    from openbalena.standalone.deployment import Standalone

# Seconds; the longest stop_grace_period is the VPN's, 150 s.
_LIMIT = 600.0
_TIMEOUT = 600.0


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command that `parser` is for."""
    command = parser.prog.rpartition(" ")[2]
    if command in ("stop", "restart"):
        parser.add_argument("services", nargs="*", metavar="SERVICE", help="services (all)")
    if command == "restart":
        parser.add_argument(
            "--timeout", metavar="SECONDS", type=seconds, default=_TIMEOUT, help="how long to wait (600)"
        )
    if command == "destroy":
        parser.add_argument("--yes", action="store_true", help="do not ask")


def run(args: argparse.Namespace, context: Context) -> int:
    """Do what `args.command` says."""
    from openbalena.standalone import deployment

    standalone = deployment.load(context.project, lab=context.lab)
    actions = {"stop": _stop, "restart": _restart, "down": _down, "destroy": _destroy}
    actions[args.command](standalone, args, context)
    return 0


def _stop(standalone: "Standalone", args: argparse.Namespace, context: Context) -> None:
    _compose(standalone, context, "stop", *_services(standalone, args))
    context.console.say(f"{', '.join(args.services) or standalone.name}: stopped. up starts what is stopped.")


def _restart(standalone: "Standalone", args: argparse.Namespace, context: Context) -> None:
    restart(standalone, context, _services(standalone, args), args.timeout)


def restart(standalone: "Standalone", context: Context, services: list[str], timeout: float = _TIMEOUT) -> None:
    """Restart `services` (all), and wait `timeout` seconds for them and for what starts anew with cert-manager."""
    from openbalena.cli.up import wait
    from openbalena.standalone import certificates

    _compose(standalone, context, "restart", *services)
    if not services or certificates.MAKER in services:
        anew = certificates.settle(standalone, context.console.progress)
        services = sorted({*services, *anew}) if services else []
    wait(standalone, context, timeout, services)


def _down(standalone: "Standalone", args: argparse.Namespace, context: Context) -> None:
    _compose(standalone, context, "--profile", "*", "down", "--remove-orphans")
    context.console.say(f"{standalone.name} is gone. Its volumes stay: up finds them again; destroy removes them.")


def _destroy(standalone: "Standalone", args: argparse.Namespace, context: Context) -> None:
    from openbalena.standalone import remains

    found = remains.volumes(standalone)
    for name in found:
        context.console.progress(f"  volume {name}")
    stays = " (what lies on the NFS server stays there)" if standalone.settings["USE_NFS"] == "true" else ""
    volumes = f"these {len(found)} volumes and all their data{stays}" if found else "no volumes"
    what = f"{standalone.name} with {volumes}"
    if not context.console.confirm(f"Remove {what}?", yes=args.yes):
        raise OperationError("nothing was removed")
    _compose(standalone, context, "--profile", "*", "down", "--remove-orphans", "--volumes")
    remains.remove_volumes(standalone)
    context.console.say(f"Removed {what}. {context.project.env_file} and {standalone.settings['PKI_DIR']} stay.")


def _services(standalone: "Standalone", args: argparse.Namespace) -> list[str]:
    if unknown := sorted(set(args.services) - set(standalone.services)):
        raise UsageError(f"no service {', '.join(unknown)}; there are: {', '.join(standalone.services)}")
    return list(args.services)


def _compose(standalone: "Standalone", context: Context, *words: str) -> None:
    for line in standalone.stream(*words, limit=_LIMIT):
        if line.strip():
            context.console.progress(line)
