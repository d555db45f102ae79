"""Serve a certificate of your own on this machine, then start what changed and wait, as `up` does.

The certificate comes from files (--certificate, --key and, of a private CA, --ca) or as base64 of PEM from HAPROXY_CRT,
HAPROXY_KEY and ROOT_CA (environment or .env). Before anything starts it has to belong to its key, to cover the host
names, and to be valid today. --remove goes back to the private CA's certificate.
"""

import argparse

from openbalena import settings
from openbalena.cli import pki, up
from openbalena.cli.context import Context


def configure(parser: argparse.ArgumentParser) -> None:
    """The files, and what `up` takes."""
    pki.own_certificate(parser)
    up.configure(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Exit code 2 for a certificate that does not fit; nothing was changed then."""
    up.complete(context)
    pki.replace(args, context, settings.configured(context.project))
    return up.run(args, context)
