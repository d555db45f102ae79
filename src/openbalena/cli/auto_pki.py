"""Get HAProxy's certificate from Let's Encrypt by DNS challenge, and a new one before it expires.

ACME_EMAIL and either CLOUDFLARE_API_TOKEN or GANDI_API_TOKEN come from .env, or from the environment and are then
written into .env. It does what `up` does and waits for the certificate. cert-manager renews only when it starts: run
this command every day with a timer. It restarts cert-manager in the certificate's last week, or if it did not get one.
"""

import argparse

from openbalena.cli.context import Context
from openbalena.cli.machine import add_timeout_option, show_configured, start
from openbalena.cli.reporter import ConsoleReporter

configure = add_timeout_option


def run(args: argparse.Namespace, context: Context) -> int:
    """Exit code 1 if there is no certificate, 2 for settings that do not fit; nothing was changed then."""
    from openbalena.operations.acme_certificate import require_acme_settings
    from openbalena.operations.configure import ConfigureOptions
    from openbalena.operations.configure import configure as write_settings
    from openbalena.operations.start_machine import StartOptions

    workspace = context.workspace
    require_acme_settings(workspace)
    # What the environment sets, and the profile that follows from it, must be in .env for the next `up`.
    if written := write_settings(ConfigureOptions(), workspace, ConsoleReporter(context, yes=True)):
        show_configured(written, context)
    start(StartOptions(args.timeout, retry_certificate=True), context)
    return 0
