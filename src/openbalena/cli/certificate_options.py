"""The options of `pki import` and `custom-pki`, and what they print."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from openbalena.cli.context import Context
from openbalena.cli.reporter import ConsoleReporter

if TYPE_CHECKING:
    from openbalena.operations.import_certificate import ImportCertificateResult


def add_certificate_options(parser: argparse.ArgumentParser) -> None:
    """The options that say which certificate HAProxy shall serve."""
    contents = {
        "certificate": "the certificate, then its intermediates",
        "key": "its key",
        "ca": "the private CA that issued it",
    }
    for name, content in contents.items():
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help=f"PEM file: {content}")
    parser.add_argument("--remove", action="store_true", help="restore a certificate of the deployment's own CA")


def import_given_certificate(args: argparse.Namespace, context: Context) -> None:
    """Import the certificate that the options of `add_certificate_options` name, and print the outcome."""
    from openbalena.operations.import_certificate import ImportCertificateOptions, import_certificate

    options = ImportCertificateOptions(args.certificate, args.key, args.ca, args.remove)
    result = import_certificate(options, context.workspace, ConsoleReporter(context))
    context.console.say(f"{result.chain}: {_outcome(result)}")


def _outcome(result: ImportCertificateResult) -> str:
    if result.custom:
        return "HAProxy's certificate is now the imported one"
    if result.changed:
        return "HAProxy's certificate is issued by the deployment's own CA again"
    return "HAProxy's certificate was already issued by the deployment's own CA"
