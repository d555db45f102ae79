"""Serve a custom certificate on this machine, then start what changed and wait, as `up` does.

The certificate comes from files (--certificate, --key and, for a private CA, --ca) or as base64 of PEM from
HAPROXY_CRT, HAPROXY_KEY and ROOT_CA (environment or .env). Before anything starts it is checked: it must match its
key, cover the host names, and be valid today. --remove restores the private CA's certificate.
"""

import argparse

from openbalena.base.errors import OperationError
from openbalena.cli.certificate_options import add_certificate_options, import_given_certificate
from openbalena.cli.context import Context
from openbalena.cli.machine import add_missing_settings, add_start_options, start
from openbalena.operations.hints import invocation


def configure(parser: argparse.ArgumentParser) -> None:
    """The files, and what `up` takes."""
    add_certificate_options(parser)
    add_start_options(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Exit code 2 for a certificate that does not fit; nothing was changed then."""
    from openbalena.operations.start_machine import StartOptions

    add_missing_settings(context)
    import_given_certificate(args, context)
    try:
        start(StartOptions(args.timeout, wait=not args.no_wait), context)
    except OperationError as error:
        if args.remove:
            raise
        ours = invocation(context.project, lab=context.lab)
        back = f"{ours} custom-pki --remove restores the private CA's certificate"
        raise OperationError(f"{error}\n{back}") from None
    return 0
