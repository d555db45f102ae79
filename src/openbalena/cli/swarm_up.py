"""Check, render and deploy the stack, then wait until every service is running."""

import argparse
from typing import Any

from openbalena.cli import next_steps
from openbalena.cli.argument_types import seconds
from openbalena.cli.context import Context
from openbalena.cli.reporter import ConsoleReporter

# Seconds. A roll of two tasks of the api takes 180 by its delay and monitor, and 120 to 480 for the starts.
_TIMEOUT = 900.0


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=seconds, default=_TIMEOUT, help="how long to wait (default: 900)"
    )
    parser.add_argument("--no-wait", action="store_true", help="do not wait until the services are running")
    parser.add_argument("--dry-run", action="store_true", help="print the stack, secrets masked, without deploying it")
    parser.add_argument("--yes", action="store_true", help="do not prompt before a service with data is removed")
    parser.add_argument("--take-over", metavar="LOCK", default="", help="take over a stale deploy lock")


def run(args: argparse.Namespace, context: Context) -> int:
    """Exit code 1 if something keeps the stack from running; every problem is named."""
    from openbalena.operations.deploy import DeployOptions, deploy

    if args.dry_run:
        return _dry_run(context)
    options = DeployOptions(timeout=args.timeout, wait=not args.no_wait, take_over=args.take_over)
    result = deploy(options, context.workspace, ConsoleReporter(context, yes=args.yes))
    console, stack = context.console, result.settings["STACK_NAME"]
    if result.converged is None:
        console.say(f"{stack} was submitted to Docker; run swarm-status to follow it.")
        return 0
    console.say(f"{stack} is running: {result.converged} services have converged.")
    for line in next_steps.of(result.settings, context):
        console.say(line)
    return 0


def _dry_run(context: Context) -> int:
    from openbalena.operations.stack_preview import PreviewOptions, preview_stack
    from openbalena.stack.emit import dump

    preview = preview_stack(PreviewOptions(), context.workspace)
    for warning in preview.warnings:
        context.console.warn(warning)
    context.console.say(dump(_masked(preview.deployment.compiled.document)).rstrip())
    if preview.placeholder_warning:
        context.console.warn(preview.placeholder_warning)
    return 0


def _masked(value: Any) -> Any:
    """`value` with a mask in place of every secret."""
    from openbalena.base import placeholder
    from openbalena.settings.values import MASK

    if isinstance(value, dict):
        return {key: _masked(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_masked(item) for item in value]
    if not isinstance(value, str):
        return value
    return placeholder.substitute(value, lambda name: MASK)
