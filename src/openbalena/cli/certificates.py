"""Show, renew and replace the deployment's certificates, and distribute HAProxy's to a running cluster.

show    list each certificate, what it is for, and when it expires
renew   renew HAProxy's certificate under the same CA, so that clients keep trusting it; others if they expire soon
import  use a custom certificate for HAProxy: --certificate, --key and, for a private CA, --ca; or as base64 of PEM in
        HAPROXY_CRT, HAPROXY_KEY and ROOT_CA (environment or .env). --remove restores the private CA's
sync    distribute HAProxy's certificate to a running cluster; connections are not interrupted
"""

from __future__ import annotations

from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from openbalena.base.errors import OperationError
from openbalena.cli.console import Context
from openbalena.cli.options import JSON, command, flag, group, option, take_over, timeout
from openbalena.cli.outcomes import START_OPTIONS, TIMEOUT, add_missing_settings, show_configured, show_healthy, start

if TYPE_CHECKING:
    from openbalena.certificates.served import Served
    from openbalena.operations.import_certificate import ImportCertificateResult
    from openbalena.operations.renew import MachineRenewal, RenewResult

# cert-manager, entry.sh (balena-io/cert-manager): a start renews a certificate that is valid for less than 7 days.
_ONE_MACHINE = (
    "On one machine (up) HAProxy serves a different certificate, not chain.pem: balena-ca issues it, and cert-manager "
    "renews it when it starts; verify shows how long it is valid."
)
_FILES = {
    "certificate": "the certificate, then its intermediates",
    "key": "its key",
    "ca": "the private CA that issued it",
}
_IMPORT_OPTIONS = (
    *(option(f"--{name}", type=Path, metavar="FILE", help=f"PEM file: {text}") for name, text in _FILES.items()),
    flag("--remove", "restore a certificate of the deployment's own CA"),
)

_AUTO_HELP = """\
Get HAProxy's certificate from Let's Encrypt by DNS challenge, and a new one before it expires.

ACME_EMAIL and either CLOUDFLARE_API_TOKEN or GANDI_API_TOKEN come from .env, or from the environment and are then
written into .env. It does what `up` does and waits for the certificate. cert-manager renews only when it starts: run
this command every day with a timer. It restarts cert-manager in the certificate's last week, or if it did not get one.

The exit code is 1 if there is no certificate, 2 for settings that do not fit; nothing was changed then.
"""

pki = group(__doc__)


@pki.action("show", "list the certificates and when they expire", JSON)
def _show(args: Namespace, context: Context) -> None:
    from openbalena.operations.show_certificates import certificate_limits, certificate_warnings, show_certificates

    result, say = show_certificates(context.workspace, context.console), context.console.say
    now = datetime.now(UTC)
    if args.json:
        context.console.json([item.record(now) for item in result.certificates])
        return
    rows = [item.row(now) for item in result.certificates]
    context.console.table([("FILE", "FOR", "NAMES", "ISSUER", "EXPIRES", "DAYS"), *rows])
    if result.phase:
        say(f"The CA is being replaced: {result.phase.text} (continue with secrets rotate CA)")
    if result.machine:
        say(_machine_text(result.machine, context))
    elif result.own_certificate:
        say(_ONE_MACHINE)
    if limits := certificate_limits(result.directory, result.domain):
        say(limits)
    context.console.warn(*certificate_warnings(result.directory, result.domain))


@pki.action(
    "renew",
    "renew HAProxy's certificate, and others that expire within 30 days",
    flag("--due", "renew HAProxy's certificate, too, only if it expires within 30 days"),
)
def _renew(args: Namespace, context: Context) -> None:
    from openbalena.operations.renew import RenewOptions, renew_certificates

    result = renew_certificates(RenewOptions(args.due), context.workspace, context.console)
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
    say = context.console.say
    if result.files == ("chain.pem",):
        say(f"Next: {context.program} pki sync (for a running cluster; does not interrupt connections)", _ONE_MACHINE)
    elif result.files:
        say(f"Next: {context.program} swarm-up, which updates the services that use them")
    else:
        say("Nothing was renewed.")


@pki.action("import", "use a custom certificate for HAProxy", *_IMPORT_OPTIONS)
def _import(args: Namespace, context: Context) -> None:
    _import_given(args, context)
    context.console.say(
        f"Next: {context.program} swarm-up (it also updates services that trust the CA, if that changed)"
    )


@pki.action(
    "sync",
    "distribute HAProxy's certificate to a running cluster",
    timeout(180.0),  # for haproxy-certs on all ingress nodes, one after the other
    take_over(),
)
def _sync(args: Namespace, context: Context) -> None:
    """Exit code 1 if the cluster does not accept the certificate."""
    from openbalena.operations.pki_sync import SyncCertificateOptions, sync_certificate

    options = SyncCertificateOptions(args.timeout, args.take_over)
    result = sync_certificate(options, context.workspace, context.console)
    if result.machine:
        context.console.say(f"{_machine_text(result.machine, context)} There is nothing to sync.")
    context.console.say(*result.endpoints.serving())
    if result.failure:
        raise OperationError(result.failure)
    if not result.machine:
        context.console.say(f"The cluster {'has' if result.changed else 'already had'} the certificate.")


def _machine_text(served: Served, context: Context) -> str:
    """Which certificate HAProxy on this machine serves, who renews it, and when."""
    if served.private:
        how = (
            "balena-ca issues it to cert-manager, which renews it when started in the certificate's last 7 days: "
            f"{context.program} pki renew restarts it then"
        )
    elif served.public:
        how = f"cert-manager obtained it through ACME; {context.program} auto-pki renews it in its last 7 days"
    else:
        how = f"it is a custom one; {context.program} custom-pki replaces it"
    return f"On one machine HAProxy serves the certificate in the volume {served.volume}, not chain.pem: {how}."


@command(*_IMPORT_OPTIONS, *START_OPTIONS)
def custom_pki(args: Namespace, context: Context) -> None:
    """Serve a custom certificate on this machine, then start what changed and wait, as `up` does.

    The certificate comes from files (--certificate, --key and, for a private CA, --ca) or as base64 of PEM from
    HAPROXY_CRT, HAPROXY_KEY and ROOT_CA (environment or .env). Before anything starts it is checked: it must match its
    key, cover the host names, and be valid today. --remove restores the private CA's certificate.

    The exit code is 2 for a certificate that does not fit; nothing was changed then.
    """
    from openbalena.operations.start_machine import StartOptions

    add_missing_settings(context)
    _import_given(args, context)
    try:
        start(StartOptions(args.timeout, wait=not args.no_wait), context)
    except OperationError as error:
        if args.remove:
            raise
        back = f"{context.program} custom-pki --remove restores the private CA's certificate"
        raise OperationError(f"{error}\n{back}") from None


def _import_given(args: Namespace, context: Context) -> None:
    """Import the certificate that the options name, and print the outcome."""
    from openbalena.operations.import_certificate import ImportCertificateOptions, import_certificate

    options = ImportCertificateOptions(args.certificate, args.key, args.ca, args.remove)
    result = import_certificate(options, context.workspace, context.console)
    context.console.say(f"{result.chain}: {_import_text(result)}")


def _import_text(result: ImportCertificateResult) -> str:
    if result.custom:
        return "HAProxy's certificate is now the imported one"
    if result.changed:
        return "HAProxy's certificate is issued by the deployment's own CA again"
    return "HAProxy's certificate was already issued by the deployment's own CA"


@command(TIMEOUT, help_text=_AUTO_HELP)
def auto_pki(args: Namespace, context: Context) -> None:
    """Exit code 1 if there is no certificate, 2 for settings that do not fit; nothing was changed then."""
    from openbalena.operations.acme_certificate import require_acme_settings
    from openbalena.operations.configure import ConfigureOptions, configure
    from openbalena.operations.start_machine import StartOptions

    require_acme_settings(context.workspace)
    # What the environment sets, and the profile that follows from it, must be in .env for the next `up`.
    if written := configure(ConfigureOptions(), context.workspace, context.console.agreeing()):
        show_configured(written, context)
    start(StartOptions(args.timeout, retry_certificate=True), context)


@command(flag("--install", "add it to this machine's trusted CAs (needs root)"))
def self_signed(args: Namespace, context: Context) -> None:
    """Print the CA of this deployment's certificate as PEM, or make this machine trust it with --install.

    Node.js programs, such as the balena CLI, use neither: set NODE_EXTRA_CA_CERTS to a file with the output.

    The exit code is 2 if the certificate is of a public CA.
    """
    from openbalena.operations.trust_ca import read_private_ca, trust_private_ca

    if args.install:
        for subject in trust_private_ca(context.workspace):
            context.console.say(f"This machine trusts {subject}.")
    else:
        context.console.say(read_private_ca(context.workspace).rstrip())
