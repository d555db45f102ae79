"""Make a deployment again from a backup, or a clone of it."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from openbalena.cli.console import Context
from openbalena.cli.options import JSON, YES, command, flag, option, take_over, timeout
from openbalena.operations.next_steps import next_steps

if TYPE_CHECKING:
    from openbalena.backup.manifest import Manifest
    from openbalena.operations.restore import RestoreResult


@command(
    option("backup", metavar="BACKUP", nargs="?", default="latest", help="its id, or a beginning (default: latest)"),
    option(
        "--as",
        dest="clone",
        metavar="DOMAIN",
        default="",
        help="make a clone under another domain, with its own CA and tokens, in addition to the original",
    ),
    timeout(21600.0, "how long each part may take"),
    flag("--settings", "restore only .env, the override file and pki, on a machine that has none"),
    flag("--replace-settings", "restore them although there are others, which are kept under another name"),
    flag("--overwrite", "delete the data that the deployment has"),
    flag("--machine", "restore onto this machine alone, although it is a manager of a swarm"),
    flag("--no-verify", "do not check the deployment over its public ports at the end"),
    JSON,
    YES,
    take_over(),
)
def restore(args: Namespace, context: Context) -> int:
    """Restore a backup onto an empty deployment, start and verify it, and say what devices will notice."""
    # Exit code 1, and nothing changed, if it cannot be restored here; every reason is named. Also if a check fails.
    from openbalena.operations.restore import RestoreRequest, restore

    request = RestoreRequest(
        args.backup,
        args.timeout,
        overwrite=args.overwrite,
        replace_settings=args.replace_settings,
        only_settings=args.settings,
        machine=args.machine,
        take_over=args.take_over,
        clone=args.clone,
        verify=not args.no_verify,
    )
    done = restore(request, context.workspace, context.console)
    if args.json:
        context.console.json(_record(done))
    else:
        _say(done, args, context)
    if done.failing:
        context.console.error(
            f"the data is restored and the services run, but checks failed ({', '.join(done.failing)}): correct what "
            "they found, then run ./open-balena.sh verify"
        )
    return 1 if done.failing else 0


def _say(done: RestoreResult, args: Namespace, context: Context) -> None:
    say = context.console.say
    if done.files:
        say(f"Restored {', '.join(done.files)}.")
    if done.manifest is None:
        if not done.files:
            again = "" if args.clone else "; --replace-settings replaces them"
            say(f"There are settings of {done.settings['DNS_TLD']} here already{again}.")
        return
    rows = "its database was restored before" if done.rows is None else f"{done.rows} rows"
    if args.clone:
        _say_clone(done, done.manifest, rows, context)
    else:
        _say_restored(done.manifest, rows, context)
    say(*next_steps(done.settings, context.workspace))


def _record(done: RestoreResult) -> dict[str, Any]:
    """What a program needs to know; without the settings, which have secrets."""
    made = done.manifest
    return {
        "domain": done.settings["DNS_TLD"],
        "files": done.files,
        "backup": made.set if made else None,
        "from": made.domain if made else None,
        "begun": made.begun if made else None,
        "rows": done.rows,
        "failing": done.failing,
        "unjoined": [asdict(device) for device in done.unjoined],
    }


def _say_restored(made: Manifest, rows: str, context: Context) -> None:
    context.console.say(
        f"Backup {made.set} of {made.domain} is restored and its services run: {rows}.",
        f"It has {made.rows.get('device', 0)} devices and {made.rows.get('release', 0)} releases, as of {made.begun}. "
        "Devices reconnect automatically. One that runs a later release goes back to the one in the backup; one that "
        "joined later is refused until it joins again. Device logs are empty at first.",
    )


def _say_clone(done: RestoreResult, made: Manifest, rows: str, context: Context) -> None:
    say, domain = context.console.say, done.settings["DNS_TLD"]
    say(f"{domain} is a clone of {made.domain} from backup {made.set}, as of {made.begun}, and runs: {rows}.")
    if not done.unjoined:
        say("No device needs to join it.")
        return
    say(
        f"These {len(done.unjoined)} devices are not connected to it. They remain with {made.domain}, which was told "
        f"nothing, until each joins the clone: balena join ADDRESS --fleet FLEET, logged in to {domain}."
    )
    devices = [(each.uuid, each.name, each.fleet, each.seen or "never") for each in done.unjoined]
    context.console.table([("DEVICE", "NAME", "FLEET", "LAST SEEN"), *devices])
