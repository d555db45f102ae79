"""Show, renew and replace the deployment's certificates, and distribute HAProxy's to a running cluster.

show    list each certificate, what it is for, and when it expires
renew   renew HAProxy's certificate under the same CA, so that clients keep trusting it; others if they expire soon
import  use a custom certificate for HAProxy: --certificate, --key and, for a private CA, --ca; or as base64 of PEM in
        HAPROXY_CRT, HAPROXY_KEY and ROOT_CA (environment or .env). --remove restores the private CA's
sync    distribute HAProxy's certificate to a running cluster; connections are not interrupted
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from openbalena.base.errors import OperationError
from openbalena.cli.argument_types import seconds
from openbalena.cli.certificate_options import add_certificate_options, import_given_certificate
from openbalena.cli.context import Context
from openbalena.cli.machine import show_healthy
from openbalena.cli.reporter import ConsoleReporter
from openbalena.operations.hints import invocation

if TYPE_CHECKING:
    from openbalena.machine.served_certificate import Served
    from openbalena.operations.renew import MachineRenewal, RenewResult
    from openbalena.operations.show_certificates import ShowCertificatesResult

# cert-manager, entry.sh (balena-io/cert-manager): a start renews a certificate that is valid for less than 7 days.
_ONE_MACHINE = (
    "On one machine (up) HAProxy serves a different certificate, not chain.pem: balena-ca issues it, and cert-manager "
    "renews it when it starts; verify shows how long it is valid."
)
# Seconds for haproxy-certs on all ingress nodes, one after the other.
_TIMEOUT = 180.0


def configure(parser: argparse.ArgumentParser) -> None:
    """The subcommands and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="show|renew|import|sync")
    show = actions.add_parser("show", help="list the certificates and when they expire")
    show.add_argument("--json", action="store_true", help="print one JSON document")
    renew = actions.add_parser("renew", help="renew HAProxy's certificate, and others that expire within 30 days")
    renew.add_argument(
        "--due", action="store_true", help="renew HAProxy's certificate, too, only if it expires within 30 days"
    )
    add_certificate_options(actions.add_parser("import", help="use a custom certificate for HAProxy"))
    sync = actions.add_parser("sync", help="distribute HAProxy's certificate to a running cluster")
    sync.add_argument(
        "--timeout", metavar="SECONDS", type=seconds, default=_TIMEOUT, help="how long to wait (default: 180)"
    )
    sync.add_argument("--take-over", metavar="LOCK", default="", help="take over a stale deploy lock")


def run(args: argparse.Namespace, context: Context) -> int:
    """Exit code 1 if the cluster does not accept the certificate, 2 for files that do not fit."""
    actions = {"show": _show, "renew": _renew, "import": _import, "sync": _sync}
    actions[args.action](args, context)
    return 0


def _show(args: argparse.Namespace, context: Context) -> None:
    from openbalena.operations.show_certificates import certificate_warnings, show_certificates

    result = show_certificates(context.workspace, ConsoleReporter(context))
    now = datetime.now(UTC)
    if args.json:
        context.console.json(_records(result, now))
        return
    rows = [
        (item.name, item.use, ", ".join(held.names), held.issuer, f"{held.end:%Y-%m-%d}", held.days(now))
        for item in result.certificates
        for held in [item.certificate]
    ]
    say = context.console.say
    context.console.table([("FILE", "FOR", "NAMES", "ISSUER", "EXPIRES", "DAYS"), *rows])
    if result.phase:
        say(f"The CA is being replaced: {result.phase.text} (continue with secrets rotate CA)")
    if result.machine:
        say(_machine_text(result.machine, context))
    elif result.own_certificate:
        say(_ONE_MACHINE)
    if limits := _limits_text(result):
        say(limits)
    for warning in certificate_warnings(result.directory, result.domain):
        context.console.warn(warning)


def _records(result: ShowCertificatesResult, now: datetime) -> list[dict[str, object]]:
    """For programs."""
    return [
        {
            "file": item.file,
            "use": item.use,
            "names": held.names,
            "issuer": held.issuer,
            "not_before": held.start.isoformat(),
            "not_after": held.end.isoformat(),
            "days_left": held.days(now),
        }
        for item in result.certificates
        for held in [item.certificate]
    ]


def _limits_text(result: ShowCertificatesResult) -> str:
    from openbalena.operations.show_certificates import certificate_limits

    limits = certificate_limits(result.directory)
    if limits.issuer is None:
        return ""
    if limits.domains is None:
        return (
            f"{limits.issuer.name} may issue for any name (it was created before name constraints were introduced): "
            "anyone who gets its key, or HAPROXY_PASSWORD, can impersonate any site wherever the root is trusted. "
            f"secrets rotate CA creates one that may issue only for {result.domain}"
        )
    return f"{limits.issuer.name} may issue only for {', '.join(limits.domains)} and its subdomains."


def _renew(args: argparse.Namespace, context: Context) -> None:
    from openbalena.operations.renew import RenewOptions, renew_certificates

    workspace = context.workspace
    result = renew_certificates(RenewOptions(args.due), workspace, ConsoleReporter(context))
    for file in result.files:
        context.console.say(f"{result.directory / file}: renewed")
    if result.machine:
        _show_machine_renewal(result.machine, context)
    else:
        _show_next(result, context)


def _show_machine_renewal(renewal: MachineRenewal, context: Context) -> None:
    say, before = context.console.say, renewal.before
    if renewal.restarted:
        show_healthy(renewal.restarted, context)
    if renewal.failure:
        raise renewal.failure
    if renewal.after:
        volume, end = renewal.after.volume, renewal.after.held.end
        say(f"HAProxy's certificate in the volume {volume} was renewed: it expires on {end:%Y-%m-%d}.")
    else:
        days = before.held.days(datetime.now(UTC))
        say(f"{_machine_text(before, context)} It expires in {days} days and was not renewed.")


def _show_next(result: RenewResult, context: Context) -> None:
    say, ours = context.console.say, invocation(context.project, lab=context.lab)
    if result.files == ("chain.pem",):
        say(f"Next: {ours} pki sync (for a running cluster; does not interrupt connections)")
        say(_ONE_MACHINE)
    elif result.files:
        say(f"Next: {ours} swarm-up, which updates the services that use them")
    else:
        say("Nothing was renewed.")


def _import(args: argparse.Namespace, context: Context) -> None:
    import_given_certificate(args, context)
    ours = invocation(context.project, lab=context.lab)
    context.console.say(f"Next: {ours} swarm-up (it also updates services that trust the CA, if that changed)")


def _sync(args: argparse.Namespace, context: Context) -> None:
    from openbalena.operations.pki_sync import SyncCertificateOptions, sync_certificate

    options = SyncCertificateOptions(args.timeout, args.take_over)
    result = sync_certificate(options, context.workspace, ConsoleReporter(context))
    if result.machine:
        context.console.say(f"{_machine_text(result.machine, context)} There is nothing to sync.")
    for line in result.endpoints.serving():
        context.console.say(line)
    if result.failure:
        raise OperationError(result.failure)
    if not result.machine:
        context.console.say(f"The cluster {'has' if result.changed else 'already had'} the certificate.")


def _machine_text(served: Served, context: Context) -> str:
    """Which certificate HAProxy on this machine serves, who renews it, and when."""
    ours = invocation(context.project, lab=context.lab)
    if served.private:
        how = (
            "balena-ca issues it to cert-manager, which renews it when started in the certificate's last 7 days: "
            f"{ours} pki renew restarts it then"
        )
    elif served.public:
        how = f"cert-manager obtained it through ACME; {ours} auto-pki renews it in its last 7 days"
    else:
        how = f"it is a custom one; {ours} custom-pki replaces it"
    return f"On one machine HAProxy serves the certificate in the volume {served.volume}, not chain.pem: {how}."
