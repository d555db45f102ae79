"""Save the deployment's data in a repository, list the backups there, and check them."""

from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from openbalena.cli.argument_types import clock_time, hours, kibibytes, metrics_file, percent, whole
from openbalena.cli.console import Context
from openbalena.cli.options import JSON, YES, flag, group, one_of, option, take_over, timeout

if TYPE_CHECKING:
    from openbalena.backup.retention import Keep

backup = group(__doc__)

_METRICS = option(
    "--metrics",
    metavar="FILE",
    type=metrics_file,
    help="after a complete backup, write its time and size for the node exporter's textfile collector",
)
_KEEP = (
    option("--keep-last", metavar="N", type=whole, default=0, help="keep the last N backups"),
    option("--keep-daily", metavar="N", type=whole, default=0, help="keep the newest backup of each of N days"),
    option("--keep-weekly", metavar="N", type=whole, default=0, help="keep the newest backup of each of N weeks"),
    option("--keep-monthly", metavar="N", type=whole, default=0, help="keep the newest backup of each of N months"),
)


@backup.action(
    "create",
    "save the database, the objects, the settings and the certificates",
    option("--limit-upload", metavar="KIB", type=kibibytes, help="send at most so many KiB per second"),
    _METRICS,
    timeout(21600.0, "how long each part may take"),
    JSON,
    take_over(),
)
def _create(args: Namespace, context: Context) -> None:
    from openbalena.backup.metrics import metrics_text
    from openbalena.base.files import write_atomic
    from openbalena.base.sizes import format_size
    from openbalena.operations.backup import BackupOptions, create_backup

    options = BackupOptions(args.timeout, args.limit_upload, args.take_over)
    made = create_backup(options, context.workspace, context.console)
    if args.metrics:
        write_atomic(Path(args.metrics), metrics_text(made))
    if args.json:
        context.console.json(asdict(made))
        return
    parts = ", ".join(f"{name} {format_size(part.bytes)}" for name, part in made.parts.items())
    context.console.say(f"Backup {made.set} of {made.domain} is complete: {parts}.")


@backup.action("list", "show the backups in the repository", timeout(600.0), JSON, take_over())
def _list(args: Namespace, context: Context) -> None:
    from openbalena.base.sizes import format_size
    from openbalena.operations.backup import BackupOptions, list_backups

    found = list_backups(BackupOptions(args.timeout, take_over=args.take_over), context.workspace, context.console)
    if args.json:
        context.console.json(asdict(found))
        return
    if found.unfinished:
        context.console.warn(
            f"not listed, since they were interrupted: {', '.join(each.id for each in found.unfinished)}"
        )
    rows = [
        (
            each.id,
            each.created[:19].replace("T", " "),
            each.domain,
            each.mode,
            each.stack,
            format_size(each.bytes),
            f"incomplete: the repository has lost {', '.join(each.missing)}" if each.missing else "",
        )
        for each in found.backups
    ]
    context.console.table([("BACKUP", "COMPLETE SINCE", "DOMAIN", "MODE", "NAME", "SIZE", ""), *rows])


@backup.action(
    "check",
    "show what a backup has, and whether it could be restored with the settings here",
    option("backup", metavar="BACKUP", nargs="?", default="latest", help="its id, or a beginning (default: latest)"),
    timeout(600.0),
    JSON,
    take_over(),
)
def _check(args: Namespace, context: Context) -> int:
    from openbalena.base.sizes import format_size
    from openbalena.operations.backup import BackupOptions, check_backup

    options = BackupOptions(args.timeout, take_over=args.take_over)
    found = check_backup(args.backup, options, context.workspace, context.console)
    if args.json:
        context.console.json(asdict(found))
        return 1 if found.plan.refusals else 0
    manifest = found.manifest
    context.console.say(
        f"Backup {manifest.set} of {manifest.domain}, from {manifest.begun} to {manifest.finished}, PostgreSQL "
        f"{manifest.database}, {sum(manifest.rows.values())} rows"
    )
    parts = [(name, format_size(part.bytes), part.files) for name, part in manifest.parts.items()]
    context.console.table([("PART", "SIZE", "FILES"), *parts])
    context.console.warn(*found.plan.warnings)
    for refusal in found.plan.refusals:
        context.console.error(refusal)
    return 1 if found.plan.refusals else 0


@backup.action(
    "verify",
    "restore a backup for a trial, and compare it with what it should have",
    option("backup", metavar="BACKUP", nargs="?", default="latest", help="its id, or a beginning (default: latest)"),
    option(
        "--read-data",
        metavar="PERCENT",
        type=percent,
        default=10,
        help="how much of the repository's data is read, besides what is restored (default: 10)",
    ),
    timeout(21600.0, "how long it may take"),
    JSON,
    take_over(),
)
def _verify(args: Namespace, context: Context) -> int:
    from openbalena.operations.backup import BackupOptions
    from openbalena.operations.backup_verify import verify_backup

    options = BackupOptions(args.timeout, take_over=args.take_over)
    found = verify_backup(args.backup, args.read_data, options, context.workspace, context.console)
    if args.json:
        context.console.json(asdict(found))
        return 1 if found.problems else 0
    for problem in found.problems:
        context.console.error(problem)
    if found.problems:
        return 1
    manifest, rows = found.manifest, sum(found.trial.database.rows.values())
    context.console.say(
        f"Backup {manifest.set} of {manifest.domain} can be restored: {rows} rows in {len(manifest.rows)} tables, "
        f"{found.trial.images} images with {found.trial.digests} layers and configurations."
    )
    return 0


@backup.action(
    "prune",
    "remove older backups, after asking; the newest complete one is always kept",
    *_KEEP,
    flag("--dry-run", "show what would be removed"),
    timeout(21600.0, "how long it may take"),
    JSON,
    YES,
    take_over(),
)
def _prune(args: Namespace, context: Context) -> None:
    from openbalena.operations.backup import BackupOptions
    from openbalena.operations.backup_prune import prune_backups

    options = BackupOptions(args.timeout, take_over=args.take_over)
    plan = prune_backups(_keep(args), options, context.workspace, context.console, dry_run=args.dry_run)
    if args.json:
        context.console.json(asdict(plan))
        return
    if args.dry_run:
        kept = [(each.id, each.created[:19].replace("T", " "), "keep", " ".join(each.rules)) for each in plan.kept]
        gone = [(each.id, each.created[:19].replace("T", " "), "remove", each.reason) for each in plan.removed]
        context.console.table([("BACKUP", "SAVED", "", "WHY"), *kept, *gone])
        return
    context.console.say(f"{len(plan.removed)} backups were removed, {len(plan.kept)} are kept.")


@backup.action(
    "schedule",
    "run backups regularly from this machine, or show whether they run and how the last one ended",
    one_of(
        option("--daily", metavar="HH:MM", type=clock_time, help="every day at this time"),
        option("--every", metavar="HOURS", type=hours, help="every so many hours, such as 6h"),
        flag("--off", "remove the schedule"),
    ),
    *_KEEP,
    _METRICS,
    JSON,
)
def _schedule(args: Namespace, context: Context) -> None:
    from openbalena.backup.schedule import Schedule
    from openbalena.operations.backup_schedule import remove_schedule, set_schedule, show_schedule

    if args.off:
        removed = remove_schedule(context.workspace)
        context.console.say("The schedule was removed." if removed else "There was no schedule.")
        return
    if args.every or args.daily:
        planned = Schedule(every=args.every) if args.every else Schedule(*args.daily)
        state = set_schedule(planned, _keep(args), args.metrics or "", context.workspace)
    else:
        state = show_schedule(context.workspace)
    if args.json:
        context.console.json(asdict(state))
    elif state.cron:
        context.console.warn("this machine has no systemd: add the following line with `crontab -e`")
        context.console.say(state.cron)
    elif not state.calendar:
        context.console.say("No schedule: add --daily HH:MM or --every HOURS.")
    else:
        ended = f"ended {state.ended}: {state.result}, exit status {state.exit_code}" if state.ended else "none yet"
        context.console.say(
            f"Backups run at {state.calendar}, next {state.next or '?'}. Last run: {ended}.",
            f"Its log: journalctl --unit {state.unit}",
        )


def _keep(args: Namespace) -> "Keep":
    from openbalena.backup.retention import Keep

    return Keep(args.keep_last, args.keep_daily, args.keep_weekly, args.keep_monthly)
