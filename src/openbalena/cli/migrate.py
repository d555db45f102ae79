"""Migrate this machine's deployment from Compose to a swarm, or back."""

from argparse import Namespace

from openbalena.cli.console import Context
from openbalena.cli.options import YES, command, flag, one_of, option, take_over, timeout

_HELP = """\
Migrate the deployment of this machine from Docker Compose to a swarm whose manager it is, or back.

The data is copied while the services run; then they are stopped, the difference is copied, the other deployment is
started and verified. On any failure the old one is started again as it was, and the exit code is 1. If the command was
interrupted, run it again. The old volumes are kept.
"""


@command(
    one_of(
        option("--to", choices=("swarm", "compose"), help="what to migrate to"),
        flag("--undo", "start the old deployment again, with its data at the time of the migration"),
    ),
    flag("--dry-run", "show what would be copied, and whether it can be migrated"),
    timeout(900.0),
    take_over(),
    YES,
    help_text=_HELP,
)
def migrate(args: Namespace, context: Context) -> None:
    """Exit code 1 if it fails, with the old deployment running."""
    from openbalena.operations.migrate import MigrateOptions, migrate, undo_migration

    say = context.console.say
    if args.undo:
        title = undo_migration(args.timeout, context.workspace, context.console, args.take_over).title
        say(f"{title} runs again.")
        return
    options = MigrateOptions(args.to, args.timeout, args.dry_run, args.take_over)
    result = migrate(options, context.workspace, context.console)
    if result is None:
        return
    down = "" if result.downtime is None else f" The services were down for at most {result.downtime:.0f} s."
    rows = ", ".join(f"{name} {count}" for name, count in (result.rows or {}).items())
    say(f"{result.title} is in use and verified.{down}{f' Rows: {rows}.' if rows else ''}")
    if result.old:
        say(f"Old volumes, for when they are no longer needed: docker volume rm {' '.join(result.old)}")
