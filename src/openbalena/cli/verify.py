"""Check a running deployment from outside, over its public ports only, and report what is wrong with it.

Each check prints one line: `ok`, `FAIL` with what to do, or `skip` with the reason. The exit code is 1 if one fails.
After a first deployment it waits, up to six minutes, for the api to fetch its device types; it prints that it waits.
Checks that write (a fleet, a device, an image) remove the fleet and the device; the image of 64 KiB is kept.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from openbalena.cli.context import Context
from openbalena.cli.reporter import ConsoleReporter

if TYPE_CHECKING:
    from openbalena.verify import Result


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `verify`."""
    parser.add_argument(
        "--address",
        action="append",
        type=_address,
        metavar="ADDRESS",
        help="IP address that answers on port 443; once for each ingress node (default: the addresses of api.<DNS_TLD> "
        "in DNS, with --lab the lab's ingress nodes)",
    )
    parser.add_argument("--openvpn", metavar="PROGRAM", help="the openvpn program (default: the one in PATH)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--list", action="store_true", help="print the checks and what they assert")


def run(args: argparse.Namespace, context: Context) -> int:
    """Run the checks; 1 if one fails."""
    from openbalena import verify
    from openbalena.operations.verify import VerifyOptions, verify_deployment

    if args.list:
        return _list(args, context)
    width = max(len(check.name) for check in verify.CHECKS)

    def show(result: Result) -> None:
        if not args.json:
            context.console.say(result.line(width))

    options = VerifyOptions(tuple(args.address or ()), args.openvpn)
    result = verify_deployment(options, context.workspace, ConsoleReporter(context), show)
    if args.json:
        context.console.json([check.record() for check in result.checks])
    return 0 if result.passed else 1


def _list(args: argparse.Namespace, context: Context) -> int:
    from openbalena import verify

    if args.json:
        context.console.json([{"name": check.name, "asserts": check.asserts} for check in verify.CHECKS])
    else:
        context.console.table([(check.name, check.asserts) for check in verify.CHECKS])
    return 0


def _address(text: str) -> str:
    """Raises argparse.ArgumentTypeError, which ends in exit code 2."""
    import ipaddress

    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected an IP address, not {text!r}") from None
