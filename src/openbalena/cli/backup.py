"""Save the deployment's data in a repository, list the backups there, and check them."""

from argparse import Namespace
from dataclasses import asdict

from openbalena.cli.argument_types import kibibytes, percent
from openbalena.cli.console import Context
from openbalena.cli.options import JSON, YES, command, flag, group, option, take_over, timeout
from openbalena.operations.next_steps import next_steps

backup = group(__doc__)


@backup.action(
    "create",
    "save the database, the objects, the settings and the certificates",
    option("--limit-upload", metavar="KIB", type=kibibytes, help="send at most so many KiB per second"),
    timeout(21600.0, "how long each part may take"),
    JSON,
    take_over(),
)
def _create(args: Namespace, context: Context) -> None:
    from openbalena.base.sizes import format_size
    from openbalena.operations.backup import BackupOptions, create_backup

    options = BackupOptions(args.timeout, args.limit_upload, args.take_over)
    made = create_backup(options, context.workspace, context.console)
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
        context.console.warn(f"not listed, since they were interrupted: {', '.join(found.unfinished)}")
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


@command(
    option("backup", metavar="BACKUP", nargs="?", default="latest", help="its id, or a beginning (default: latest)"),
    timeout(21600.0, "how long each part, and each start of services, may take"),
    flag("--settings", "restore only .env, the override file and pki, on a machine that has none"),
    flag("--replace-settings", "restore them although there are others, which are kept under another name"),
    flag("--overwrite", "delete the data that the deployment has"),
    YES,
    take_over(),
)
def restore(args: Namespace, context: Context) -> None:
    """Restore a backup onto an empty deployment, start it, and say what devices will notice."""
    # Exit code 1, and nothing changed, if it cannot be restored here; every reason is named.
    from openbalena.operations.restore import RestoreRequest, restore

    request = RestoreRequest(
        args.backup,
        args.timeout,
        overwrite=args.overwrite,
        replace_settings=args.replace_settings,
        only_settings=args.settings,
        take_over=args.take_over,
    )
    done = restore(request, context.workspace, context.console)
    say, made = context.console.say, done.manifest
    if done.files:
        say(f"Restored {', '.join(done.files)}.")
    if made is None:
        if not done.files:
            say(f"There are settings of {done.settings['DNS_TLD']} here already; --replace-settings replaces them.")
        return
    rows = "its database was restored before" if done.rows is None else f"{done.rows} rows"
    say(f"Backup {made.set} of {made.domain} is restored and its services run: {rows}.")
    say(
        f"It has {made.rows.get('device', 0)} devices and {made.rows.get('release', 0)} releases, as of {made.begun}. "
        "Devices reconnect by themselves. One that runs a later release goes back to the one in the backup; one that "
        "joined later is refused until it joins again. Device logs begin anew."
    )
    say(*next_steps(done.settings, context.workspace))
