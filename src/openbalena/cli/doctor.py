"""doctor: what is wrong with a cluster, or will be."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from openbalena.base.errors import OperationError, UsageError
from openbalena.cli.argument_types import lines
from openbalena.cli.console import WIDTH, Context, wrap
from openbalena.cli.doctor_watch import finding_lines, watch
from openbalena.cli.options import JSON, command, flag, one_of, option, take_over, timeout

if TYPE_CHECKING:
    from openbalena.doctor.findings import Fix
    from openbalena.operations.doctor import DoctorResult

# Findings that make the exit code 1.
_SERIOUS = ("error", "warning")
# Lines of a log in the archive for support.
_LINES = 200


@command(
    one_of(
        JSON,
        flag("--fix", "do what is safe of what it finds, after asking"),
        flag("--watch", "examine again every 10 s until Ctrl-C, and show what changes"),
        option("--bundle", metavar="FILE.tar.gz", type=Path, help="write an archive for support, without secrets"),
        option("--dismiss", metavar="ID", default="", help="do not show this finding until it changes"),
    ),
    option("--reason", metavar="TEXT", default="", help="why it is dismissed"),
    flag("--yes", "with --fix: do not prompt for confirmation"),
    timeout(300.0, "with --fix: how long to wait for a service"),
    option(
        "--tail",
        metavar="N",
        type=lines,
        default=_LINES,
        help=f"with --bundle: the last N lines of each task of services that do not run (default: {_LINES})",
    ),
    take_over(),
)
def doctor(args: Namespace, context: Context) -> int:
    """Check nodes, engines, disks, clocks, certificates and services of the cluster.

    The exit code is 1 if there are errors or warnings, 0 if there are only notes, for use in cron.
    """
    from openbalena.operations.doctor import dismiss, examine
    from openbalena.operations.doctor_fix import offered_fixes

    if args.dismiss:
        if not args.reason:
            raise UsageError("doctor --dismiss requires --reason: others will wonder why it is not shown")
        dismiss(context.workspace, args.dismiss, args.reason)
        context.console.say(f"{args.dismiss} is dismissed until it changes.")
        return 0
    if args.watch:
        return watch(context, args.take_over)
    if args.bundle:
        _bundle(args, context)
        return 0
    result = examine(context.workspace, context.console, take_over=args.take_over)
    if args.json:
        context.console.json(result.record())
    else:
        _show(result, context)
    failed = False
    if args.fix:
        if fixes := offered_fixes(result.findings):
            failed = _apply(fixes, args.timeout, context)
            result = examine(context.workspace, context.console)
            _show(result, context)
        elif result.findings:
            context.console.say("doctor --fix can do nothing about this.")
    return int(failed or any(each.severity.value in _SERIOUS for each in result.findings))


def _bundle(args: Namespace, context: Context) -> None:
    from openbalena.operations.support_archive import write_archive

    result = write_archive(args.bundle, args.tail, context.workspace, context.console, args.take_over)
    for name, reason in result.missing.items():
        context.console.warn(f"{name} is missing in the archive: {reason}")
    context.console.say(
        f"{args.bundle}: {len(result.files)} files, {result.size / 1024:.0f} KiB, with known secrets masked. Names of "
        "hosts, addresses and logs are in it: read it before you send it."
    )


def _apply(fixes: list[Fix], timeout: float, context: Context) -> bool:
    """Do all of `fixes` after asking; returns whether one of them failed. Raises OperationError unless agreed."""
    from openbalena.operations.doctor_fix import apply_fix

    console = context.console
    console.say("", "doctor --fix would:", *(line for fix in fixes for line in _item(fix.text)))
    if not console.confirm("Do this?"):
        raise OperationError("nothing was changed")
    failed = False
    for fix in fixes:
        console.progress(f"{fix.text} …")
        try:
            apply_fix(fix, context.workspace, console, timeout)
        except OperationError as error:
            console.error(str(error))
            failed = True
    console.say("")
    return failed


def _item(text: str) -> list[str]:
    first, *more = wrap(text, WIDTH - 4)
    return [f"  - {first}", *(f"    {line}" for line in more)]


def _show(result: DoctorResult, context: Context) -> None:
    say = context.console.say
    for each in result.findings:
        say(*finding_lines(each))
    if not result.findings:
        say("Nothing to report.")
    if result.dismissed:
        say(f"{len(result.dismissed)} dismissed: {', '.join(each.id for each, _ in result.dismissed)}")
