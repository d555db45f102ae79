"""Serve a certificate of your own on this machine, then start what changed and wait, as `up` does.

The certificate comes from files (--certificate, --key and, of a private CA, --ca) or as base64 of PEM from HAPROXY_CRT,
HAPROXY_KEY and ROOT_CA (environment or .env). Before anything starts it has to belong to its key, to cover the host
names, and to be valid today.
"""

import argparse
from pathlib import Path

from openbalena.cli import pki, up
from openbalena.cli.context import Context


def configure(parser: argparse.ArgumentParser) -> None:
    """The files, and what `up` takes."""
    for name, what in (("certificate", "it, then its intermediates"), ("key", "its key"), ("ca", "its private CA")):
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help=f"PEM file of {what}")
    up.configure(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Exit code 2 for a certificate that does not fit; nothing was changed then."""
    up.complete(context)
    args.action = "import"
    pki.run(args, context)
    return up.run(args, context)
