"""Check a running deployment from outside, over its public ports only, and report what is wrong with it.

Each check prints one line: `ok`, `FAIL` with what to do, or `skip` with the reason. The exit code is 1 if one fails.
After a first deployment it waits, up to six minutes, for the api to fetch its device types; it prints that it waits.
Checks that write (a fleet, a device, an image) remove the fleet and the device; the image of 64 KiB is kept.
"""

from __future__ import annotations

import ipaddress
from argparse import ArgumentTypeError, Namespace
from typing import TYPE_CHECKING

from openbalena.cli.console import Context
from openbalena.cli.options import JSON, command, flag, option

if TYPE_CHECKING:
    from openbalena.verify import Result


def _address(text: str) -> str:
    """Raises argparse.ArgumentTypeError, which ends in exit code 2."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ArgumentTypeError(f"expected an IP address, not {text!r}") from None


@command(
    option(
        "--address",
        action="append",
        type=_address,
        metavar="ADDRESS",
        help="IP address that answers on port 443; once for each ingress node (default: the addresses of api.<DNS_TLD> "
        "in DNS, with --lab the lab's ingress nodes)",
    ),
    option("--openvpn", metavar="PROGRAM", help="the openvpn program (default: the one in PATH)"),
    JSON,
    flag("--list", "print the checks and what they assert"),
    help_text=__doc__,
)
def verify(args: Namespace, context: Context) -> int:
    """Run the checks; 1 if one fails."""
    from openbalena.operations.verify import VerifyOptions, verify_deployment
    from openbalena.verify import CHECKS

    if args.list:
        if args.json:
            context.console.json([{"name": check.name, "asserts": check.asserts} for check in CHECKS])
        else:
            context.console.table([(check.name, check.asserts) for check in CHECKS])
        return 0
    width = max(len(check.name) for check in CHECKS)

    def show(result: Result) -> None:
        if not args.json:
            context.console.say(result.line(width))

    options = VerifyOptions(tuple(args.address or ()), args.openvpn)
    result = verify_deployment(options, context.workspace, context.console, show)
    if args.json:
        context.console.json([check.record() for check in result.checks])
    return 0 if result.passed else 1
