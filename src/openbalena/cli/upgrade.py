"""Upgrade openBalena to another release, in both modes."""

from argparse import Namespace
from dataclasses import asdict

from openbalena.cli.console import Context
from openbalena.cli.options import JSON, YES, command, flag, option, take_over, timeout

_HELP = """\
Upgrade openBalena to a release that this version knows.

The deployment is saved first, then the images of the release are written to .env and deployed. On failure the former
images are in .env again and are started, unless the database has been changed so that they must not be. If the command
was interrupted, run it again. docs/upgrade.md describes what needs care.
"""


@command(
    option("--check", dest="dry_run", action="store_true", help="show what would change, and what needs care"),
    option("--to", metavar="VERSION", help="the release (default: the newest that is known)"),
    flag("--no-backup", "do not save the deployment first"),
    flag("--keep-database", "do not change the image of the database"),
    timeout(900.0),
    JSON,
    YES,
    take_over(),
    help_text=_HELP,
)
def upgrade(args: Namespace, context: Context) -> int:
    """Exit code 1 if the upgrade is refused or fails."""
    from openbalena.operations.upgrade import UpgradeOptions, check_upgrade, upgrade

    options = UpgradeOptions(
        args.to,
        args.timeout,
        backup=not args.no_backup,
        keep_database=args.keep_database,
        take_over=args.take_over,
    )
    console = context.console
    if not args.dry_run:
        result = upgrade(options, context.workspace, console)
        saved = f" The backup before it is {result.backup}." if result.backup else ""
        if args.json:
            console.json(asdict(result))
        elif result.changed:
            console.say(f"openBalena {result.plan.version} runs.{saved}")
        else:
            console.say(f"openBalena {result.plan.version} runs already.")
        return 0
    plan = check_upgrade(options, context.workspace, console)
    if args.json:
        console.json(asdict(plan))
        return 1 if plan.refusals else 0
    console.say(f"openBalena {plan.former or '(images of several releases)'} → {plan.version}")
    rows = [(each.service, *(image.partition("@")[0] for image in (each.before, each.after))) for each in plan.changes]
    console.table([("SERVICE", "NOW", "THEN"), *rows])
    console.warn(*plan.findings, *(f"no way back: {step}" for step in plan.one_way))
    for refusal in plan.refusals:
        console.error(refusal)
    return 1 if plan.refusals else 0
