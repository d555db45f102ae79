"""Checks a running deployment from outside, over its public ports alone, and says what is wrong with it.

Each check prints one line: `ok`, `FAIL` with what to do, or `skip` with the reason. The exit code is 1 when one fails.
After a first deployment it waits, up to six minutes, for the api to fetch its device types; it says so.
Checks that write (a fleet, a device, an image) remove the fleet and the device; the image of 64 KiB stays.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from openbalena.cli.context import Context
from openbalena.errors import UsageError

if TYPE_CHECKING:
    from openbalena.verify import Target


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `verify`."""
    parser.add_argument(
        "--address",
        action="append",
        type=_address,
        metavar="ADDRESS",
        help="IP address where port 443 answers; once for each ingress node (default: what DNS says of api.<DNS_TLD>, "
        "with --lab the lab's ingress nodes)",
    )
    parser.add_argument("--openvpn", metavar="PROGRAM", help="the openvpn program (default: the one in PATH)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--list", action="store_true", help="print the checks and what they assert")


def run(args: argparse.Namespace, context: Context) -> int:
    """Run the checks; 1 when one fails."""
    from openbalena import settings, verify
    from openbalena.secrets import expiry
    from openbalena.secrets.check import problems

    if args.list:
        if args.json:
            context.console.json([{"name": check.name, "asserts": check.asserts} for check in verify.CHECKS])
        else:
            context.console.table([(check.name, check.asserts) for check in verify.CHECKS])
        return 0
    wanted = target(context, args.address or [], args.openvpn)
    values = settings.load(context.project)
    directory = Path(values["PKI_DIR"])
    wrong = problems(directory, wanted.dns_tld, ended=False)
    for warning in [*values.warnings, *wrong, *expiry.warnings(directory)]:
        context.console.warn(warning)
    width = max(len(check.name) for check in verify.CHECKS)
    results = verify.run(
        verify.CHECKS,
        wanted,
        (lambda _: None) if args.json else (lambda result: context.console.say(result.line(width))),
    )
    if args.json:
        context.console.json([result.record() for result in results])
    return 1 if any(result.outcome == "FAIL" for result in results) else 0


def target(context: Context, addresses: list[str], openvpn: str | None = None) -> "Target":
    """The deployment of `context`. Raises UsageError for settings that are wrong or not there yet."""
    from openbalena import settings, verify
    from openbalena.files import read

    values = settings.configured(context.project)
    bundle = Path(values["PKI_DIR"]) / "ca-bundle.pem"
    return verify.Target(
        dns_tld=values["DNS_TLD"],
        addresses=tuple(addresses) or _addresses(context, f"api.{values['DNS_TLD']}"),
        looked_up=not addresses and not context.lab,
        authority=verify.authority(values, Path(values["PKI_DIR"])),
        values={**values, **values.secrets, "COMPOSE_PROFILES": ",".join(values.profiles)},
        openvpn=_openvpn(context, openvpn),
        report=context.console.progress,
        vpn_authority=read(bundle).decode() if bundle.exists() else "",
    )


def _address(text: str) -> str:
    """Raises argparse.ArgumentTypeError, which ends in exit code 2."""
    import ipaddress

    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected an IP address, not {text!r}") from None


def _addresses(context: Context, host: str) -> tuple[str, ...]:
    if context.lab:
        from openbalena import settings

        return _in_the_lab(settings.load(context.project)["STACK_NAME"])
    from openbalena.verify.network import lookup

    try:
        return lookup(host)
    except OSError:
        return ()


def _in_the_lab(stack: str) -> tuple[str, ...]:
    """The ingress nodes, or without a stack the one node that docker compose acts on."""
    from openbalena import lab
    from openbalena.cluster import engine, labels, placement, state

    with engine.current(lab=True).client() as client:
        cluster = state.read(client, stack)
    if cluster.services:
        return tuple(node.address for node in labels.holders(cluster.nodes, placement.INGRESS_LABEL))
    endpoint = lab.endpoint()
    return tuple(node.address for node in endpoint.nodes if endpoint.host == f"unix://{node.socket}")


def _openvpn(context: Context, named: str | None) -> Path | None:
    import shutil

    if named:
        program = shutil.which(named)
        if program is None:
            raise UsageError(f"--openvpn {named}: no such program")
        return Path(program)
    if context.lab:
        from openbalena import lab

        return lab.endpoint().cli.parent / "openvpn"
    program = shutil.which("openvpn")
    return Path(program) if program else None
