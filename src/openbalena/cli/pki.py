"""pki: show, renew and replace the deployment's certificates, and bring HAProxy's to a running cluster.

show    each certificate, what it is for, when it ends
renew   HAProxy's certificate under the same CA: who trusts the CA goes on doing so; others where they end soon
import  a certificate of your own for HAProxy: --certificate, --key and, of a private CA, --ca; or as base64 of PEM in
        HAPROXY_CRT, HAPROXY_KEY and ROOT_CA (environment or .env). --remove goes back to the private CA's
sync    give HAProxy's certificate to a running cluster; no connection is cut
"""

import argparse
import os
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from pathlib import Path

from openbalena import settings
from openbalena.cli.context import Context
from openbalena.cli.numbers import seconds
from openbalena.errors import UsageError
from openbalena.invocation import invocation
from openbalena.operations.settings_lock import exclusive_lock
from openbalena.settings import Settings

# cert-manager, entry.sh (balena-io/cert-manager): a start renews what has less than 7 days to go.
_ONE_MACHINE = (
    "On one machine (up) HAProxy serves another certificate than chain.pem, which balena-ca issues and cert-manager "
    "renews when it starts: verify says for how long that one is valid."
)
# Seconds for haproxy-certs on all ingress nodes, one after the other.
_TIMEOUT = 180.0
# Bytes: a chain of certificates is a few thousand, and /dev/zero does not end.
_LARGEST = 2**20


def configure(parser: argparse.ArgumentParser) -> None:
    """The subcommands and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="show|renew|import|sync")
    show = actions.add_parser("show", help="list the certificates and when they end")
    show.add_argument("--json", action="store_true", help="print one JSON document")
    renew = actions.add_parser("renew", help="issue HAProxy's certificate anew, others where they end within 30 days")
    renew.add_argument("--due", action="store_true", help="HAProxy's, too, only where it ends within 30 days")
    own_certificate(actions.add_parser("import", help="use a certificate of your own for HAProxy"))
    sync = actions.add_parser("sync", help="bring HAProxy's certificate to a running cluster")
    sync.add_argument("--timeout", metavar="SECONDS", type=seconds, default=_TIMEOUT, help="how long to wait (180)")
    sync.add_argument("--take-over", metavar="LOCK", default="", help="take over the lock of a deploy that is gone")


def own_certificate(parser: argparse.ArgumentParser) -> None:
    """The options that say which certificate HAProxy shall serve."""
    for name, what in (("certificate", "it, then its intermediates"), ("key", "its key"), ("ca", "its private CA")):
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help=f"PEM file of {what}")
    parser.add_argument("--remove", action="store_true", help="go back to a certificate of the deployment's own CA")


def run(args: argparse.Namespace, context: Context) -> int:
    """Exit code 1 where the cluster does not take the certificate, 2 for files that do not fit."""
    if args.action == "sync":
        from openbalena.cli import pki_here, pki_sync

        with exclusive_lock(context.project.directory):
            values = settings.configured(context.project)
            if here := pki_here.find(context, values):
                pki_here.sync(here, context, values)
                return 0
            return pki_sync.run(args, context, values)
    values = settings.configured(context.project)
    if args.action == "show":
        return _show(args, context, values)
    if args.action == "renew":
        with exclusive_lock(context.project.directory):
            return _renew(args, context, values)
    replace(args, context, values)
    ours = invocation(context.project, lab=context.lab)
    context.console.say(f"Next: {ours} swarm-up (services that trust the CA are rolled where that changed)")
    return 0


def replace(args: argparse.Namespace, context: Context, values: Settings) -> None:
    """Make the certificate that `args` name HAProxy's, in .env and in the PKI; nothing that runs is touched.

    Raises UsageError for one that does not fit; nothing was changed then.
    """
    if values.get("ACME_EMAIL"):
        raise UsageError(
            f"{values.sources['ACME_EMAIL']}: ACME_EMAIL is set, so cert-manager's certificate would replace it: unset "
            "it and the DNS provider's token first"
        )
    from openbalena.secrets import renew

    with exclusive_lock(context.project.directory):
        # A step of the CA's rotation that was cut off would put its own certificate in the imported one's place.
        renew.require(Path(values["PKI_DIR"]), values["DNS_TLD"])
        (_remove if args.remove else _import)(args, context, values)


def _show(args: argparse.Namespace, context: Context, values: Settings) -> int:
    from openbalena.cli import pki_here
    from openbalena.secrets import expiry
    from openbalena.secrets.phases import phase
    from openbalena.secrets.pki import serves_own

    directory = Path(values["PKI_DIR"])
    now, found = datetime.now(UTC), expiry.held(directory)
    if not found:
        raise UsageError(f"{directory}: no certificate is there: run ./open-balena.sh config")
    here = pki_here.find(context, values)
    # Where each lies, in full and in short, and what it is for.
    listed = [(str(item.path), item.path.name, item.use, item) for item in found]
    if here:
        listed.insert(0, (f"{here.volume}:{here.held.path}", here.volume, pki_here.USE, here.held))
    if args.json:
        context.console.json(
            [
                {
                    "file": where,
                    "use": use,
                    "names": item.names,
                    "issuer": item.issuer,
                    "not_before": item.start.isoformat(),
                    "not_after": item.end.isoformat(),
                    "days_left": item.days(now),
                }
                for where, _, use, item in listed
            ]
        )
        return 0
    rows = [
        (short, use, ", ".join(item.names), item.issuer, f"{item.end:%Y-%m-%d}", item.days(now))
        for _, short, use, item in listed
    ]
    context.console.table([("FILE", "FOR", "NAMES", "ISSUER", "ENDS", "DAYS"), *rows])
    if now_in := phase(directory):
        context.console.say(f"The CA is being replaced: {now_in.text} (secrets rotate CA goes on)")
    if here:
        context.console.say(pki_here.says(here, context))
    elif serves_own(directory):
        context.console.say(_ONE_MACHINE)
    _say_limits(context, values)
    return 0


def _say_limits(context: Context, values: Settings) -> None:
    """For which names the server CA may issue, what is wrong with the files, and which of them end soon."""
    from openbalena.secrets import expiry
    from openbalena.secrets.certificates import permitted
    from openbalena.secrets.check import problems
    from openbalena.secrets.keys import read_certificates

    directory = Path(values["PKI_DIR"])
    issuer = directory / "server-ca-0.pem"
    if issuer.exists() and (domains := permitted(read_certificates(issuer)[0])) is None:
        context.console.say(
            f"{issuer.name} may issue for any name (name constraints came later): whoever gets its key, or "
            "HAPROXY_PASSWORD, passes for any site where the root is trusted. One that secrets rotate CA makes may for "
            f"{values['DNS_TLD']} alone"
        )
    elif issuer.exists():
        context.console.say(f"{issuer.name} may issue for {', '.join(domains or [])} and names below alone.")
    for warning in [*problems(directory, values["DNS_TLD"], ended=False), *expiry.warnings(directory)]:
        context.console.warn(warning)


def _renew(args: argparse.Namespace, context: Context, values: Settings) -> int:
    from openbalena.cli import pki_here
    from openbalena.secrets import pki, renew

    directory, console = Path(values["PKI_DIR"]), context.console
    here = pki_here.find(context, values)
    renewed = renew.renew(directory, values["DNS_TLD"], only_due=args.due or here is not None)
    for file in renewed:
        console.say(f"{directory / file}: renewed")
    if here:
        pki_here.renew(here, context, values)
        return 0
    if not pki.serves_own(directory):
        console.warn(
            f"{directory / 'chain.pem'} is of another CA, which has to renew it: bring the new one with pki import "
            "or, where cert-manager gets it, with pki sync (a cluster) or auto-pki (one machine)"
        )
    ours = invocation(context.project, lab=context.lab)
    if renewed == ["chain.pem"]:
        console.say(f"Next: {ours} pki sync (a running cluster; cuts no connection)")
        console.say(_ONE_MACHINE)
    elif renewed:
        console.say(f"Next: {ours} swarm-up, which rolls the services that use them")
    else:
        console.say("Nothing was renewed.")
    return 0


def _import(args: argparse.Namespace, context: Context, values: Settings) -> None:
    from openbalena import dotenv
    from openbalena.files import write_atomic
    from openbalena.secrets import imported, pki
    from openbalena.settings import envfile

    console, project, directory = context.console, context.project, Path(values["PKI_DIR"])
    files = (args.certificate, args.key, args.ca)
    sources = files if any(files) else pki.OWN
    given, used = _given(args, values), b64decode(dotenv.read(project.env_file).values.get("ROOT_CA", ""))
    found = imported.checked(
        *given, values["DNS_TLD"], tuple(map(str, sources)), public=imported.public_roots(), in_use=used
    )
    pem = dict(zip(pki.OWN, (found.certificate, found.key, found.authority), strict=True))
    encoded = {name: b64encode(content).decode() for name, content in pem.items()}
    if clash := [name for name in encoded if os.environ.get(name, encoded[name]) != encoded[name]]:
        raise UsageError(f"environment variable {clash[0]}: is another one than the files': unset it, since it wins")
    file = dotenv.read(project.env_file)
    # An empty ROOT_CA need not be written where none is set.
    changed = {name: text for name, text in encoded.items() if file.values.get(name, "") != text}
    if changed:
        write_atomic(project.env_file.resolve(), envfile.update(file, changed), 0o600)
    pki.use_certificate(directory, found.certificate, found.key)
    for warning in found.warnings:
        console.warn(warning)
    console.say(f"{directory / 'chain.pem'}: HAProxy's certificate is now the imported one")


def _remove(args: argparse.Namespace, context: Context, values: Settings) -> None:
    from openbalena import dotenv
    from openbalena.files import write_atomic
    from openbalena.secrets import pki, renew

    project, directory = context.project, Path(values["PKI_DIR"])
    if args.certificate or args.key or args.ca:
        raise UsageError("--remove goes back to the deployment's own CA: leave out the files")
    if others := [name for name in pki.OWN if os.environ.get(name)]:
        raise UsageError(f"environment variable {others[0]}: unset it, since it wins over .env")
    file = dotenv.read(project.env_file)
    before = file.text
    for name in pki.OWN:
        file.remove(name)
    if file.text != before:
        write_atomic(project.env_file.resolve(), file.text, 0o600)
    issued = renew.own(directory, values["DNS_TLD"])
    done = "is of the deployment's own CA again" if issued else "was of the deployment's own CA already"
    context.console.say(f"{directory / 'chain.pem'}: HAProxy's certificate {done}")


def _given(args: argparse.Namespace, values: Settings) -> tuple[bytes, bytes, bytes]:
    """Certificate, key and CA as PEM: from the files, or from the variables where no file is named."""
    from openbalena.secrets import pki

    if args.certificate or args.key or args.ca:
        if not (args.certificate and args.key):
            raise UsageError("--certificate and --key go together: name both")
        return _read(args.certificate), _read(args.key), _read(args.ca) if args.ca else b""
    certificate, key, authority = pki.own(values)
    if not (certificate and key):
        raise UsageError("which certificate? Name --certificate and --key, or set HAPROXY_CRT and HAPROXY_KEY")
    return certificate, key, authority


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:  # a pipe of the shell's, too: <(pass show key)
            content = stream.read(_LARGEST + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > _LARGEST:
        raise UsageError(f"{path}: expected a PEM file, and none is larger than {_LARGEST} bytes")
    return content
