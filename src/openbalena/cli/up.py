"""Build and start the services, and wait until every service is healthy.

`up` first writes what .env lacks (as `config --yes`), adopts the volumes of an existing deployment, and removes
containers of services that are no longer in the settings. `update` pulls newer images first. `wait` only waits.
"""

import argparse

from openbalena.cli.context import Context
from openbalena.cli.machine import add_missing_settings, add_start_options, add_timeout_option, show_healthy, start
from openbalena.cli.reporter import ConsoleReporter

configure_up = configure_update = add_start_options
configure_wait = add_timeout_option


def run_up(args: argparse.Namespace, context: Context) -> int:
    """Exit code 1 if a service is not healthy in time or there is no certificate by ACME; log lines show why."""
    return _start(args, context, pull=False)


def run_update(args: argparse.Namespace, context: Context) -> int:
    """As `run_up`."""
    return _start(args, context, pull=True)


def run_wait(args: argparse.Namespace, context: Context) -> int:
    """Exit code 1 if a service is not healthy in time; its last log lines show why."""
    from openbalena.operations.machine_services import WaitOptions, wait_for_services

    show_healthy(wait_for_services(WaitOptions(args.timeout), context.workspace, ConsoleReporter(context)), context)
    return 0


def _start(args: argparse.Namespace, context: Context, *, pull: bool) -> int:
    from openbalena.operations.start_machine import StartOptions

    add_missing_settings(context)
    start(StartOptions(args.timeout, wait=not args.no_wait, pull=pull), context)
    return 0
