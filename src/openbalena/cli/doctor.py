"""doctor: what is wrong with a cluster, or will be."""

from __future__ import annotations

import textwrap
from argparse import Namespace
from typing import TYPE_CHECKING

from openbalena.base.errors import UsageError
from openbalena.cli.console import WIDTH, Context, wrap
from openbalena.cli.options import JSON, command, one_of, option

if TYPE_CHECKING:
    from openbalena.operations.doctor import DoctorResult

# Findings that make the exit code 1.
_SERIOUS = ("error", "warning")


@command(
    one_of(JSON, option("--dismiss", metavar="ID", default="", help="do not show this finding until it changes")),
    option("--reason", metavar="TEXT", default="", help="why it is dismissed"),
)
def doctor(args: Namespace, context: Context) -> int:
    """Check nodes, engines, disks, clocks, certificates and services of the cluster.

    The exit code is 1 if there are errors or warnings, 0 if there are only notes, for use in cron.
    """
    from openbalena.operations.doctor import dismiss, examine

    if args.dismiss:
        if not args.reason:
            raise UsageError("doctor --dismiss requires --reason: others will wonder why it is not shown")
        dismiss(context.workspace, args.dismiss, args.reason)
        context.console.say(f"{args.dismiss} is dismissed until it changes.")
        return 0
    result = examine(context.workspace, context.console)
    if args.json:
        found = [each.record() for each in result.findings]
        context.console.json([*found, *(each.record(reason) for each, reason in result.dismissed)])
    else:
        _show(result, context)
    return int(any(each.severity.value in _SERIOUS for each in result.findings))


def _show(result: DoctorResult, context: Context) -> None:
    say = context.console.say
    for each in result.findings:
        measured = f" ({each.measured})" if each.measured else ""
        say(*wrap(f"{each.severity.value}: {each.subject}: {each.detail}{measured} [{each.id}]", WIDTH))
        say(textwrap.indent("\n".join(wrap(each.remedy, WIDTH - 2)), "  "))
    if not result.findings:
        say("Nothing to report.")
    if result.dismissed:
        say(f"{len(result.dismissed)} dismissed: {', '.join(each.id for each, _ in result.dismissed)}")
