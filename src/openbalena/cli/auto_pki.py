"""Get HAProxy's certificate from Let's Encrypt by DNS challenge, and a new one when it is about to end.

ACME_EMAIL and either CLOUDFLARE_API_TOKEN or GANDI_API_TOKEN come from .env, or from the environment and are then
written into .env. It does what `up` does and waits for the certificate. cert-manager renews only when it starts: run
this command every day by a timer, and it starts cert-manager anew in the certificate's last week, or where it got none.
"""

import argparse

from openbalena import settings
from openbalena.cli import config, up
from openbalena.cli.context import Context
from openbalena.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """What `up` takes."""
    up.configure(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Exit code 1 where no certificate comes, 2 for settings that do not fit; nothing was changed then."""
    values = settings.configured(context.project)
    if not values.get("ACME_EMAIL"):
        raise UsageError(
            f"{context.project.env_file}: ACME_EMAIL is not set: set it to the account's address, and "
            "CLOUDFLARE_API_TOKEN or GANDI_API_TOKEN to a token that may edit the domain's DNS records"
        )
    if values.get("ROOT_CA"):
        raise UsageError(
            f"{values.sources['ROOT_CA']}: ROOT_CA is set, for a certificate of your own: first go back to the "
            "private CA: unset ACME_EMAIL and the token, and run ./open-balena.sh custom-pki --remove"
        )
    # What the environment sets, and the profile that follows from it, has to stand in .env for the next `up`.
    parser = argparse.ArgumentParser()
    config.configure(parser)
    config.run(parser.parse_args(["--yes"]), context)
    return up.run(args, context)
