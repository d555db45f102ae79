"""Print the CA of this deployment's certificate as PEM, or make this machine trust it with --install.

Node.js programs, such as the balena CLI, use neither: set NODE_EXTRA_CA_CERTS to a file with the output.
"""

import argparse

from openbalena.cli.context import Context


def configure(parser: argparse.ArgumentParser) -> None:
    """One option."""
    parser.add_argument("--install", action="store_true", help="add it to this machine's trusted CAs (needs root)")


def run(args: argparse.Namespace, context: Context) -> int:
    """Exit code 2 if the certificate is of a public CA."""
    from openbalena.operations.trust_ca import read_private_ca, trust_private_ca

    workspace = context.workspace
    if args.install:
        for subject in trust_private_ca(workspace):
            context.console.say(f"This machine trusts {subject}.")
    else:
        context.console.say(read_private_ca(workspace).rstrip())
    return 0
