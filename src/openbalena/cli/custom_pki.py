"""Serve a certificate of your own on this machine, then start what changed and wait, as `up` does.

The certificate comes from files (--certificate, --key and, of a private CA, --ca) or as base64 of PEM from HAPROXY_CRT,
HAPROXY_KEY and ROOT_CA (environment or .env). Before anything starts it has to belong to its key, to cover the host
names, and to be valid today. --remove goes back to the private CA's certificate.
"""

import argparse

from openbalena import settings
from openbalena.cli import pki, up
from openbalena.cli.context import Context
from openbalena.errors import OperationError
from openbalena.invocation import invocation


def configure(parser: argparse.ArgumentParser) -> None:
    """The files, and what `up` takes."""
    pki.own_certificate(parser)
    up.configure(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Exit code 2 for a certificate that does not fit; nothing was changed then."""
    up.complete(context)
    pki.replace(args, context, settings.configured(context.project))
    back = (
        f"{invocation(context.project, lab=context.lab)} custom-pki --remove goes back to the private CA's certificate"
    )
    try:
        status = up.run(args, context)
    except OperationError as error:
        raise (error if args.remove else OperationError(f"{error}\n{back}")) from None
    if status and not args.remove:
        context.console.warn(back)
    return status
