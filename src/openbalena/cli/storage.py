"""Where the stack's volumes live, moving one to another node, and forgetting one whose data is gone."""

import argparse
from typing import TYPE_CHECKING, Any

from openbalena.cli.context import Context
from openbalena.cli.numbers import seconds
from openbalena.errors import OperationError, UsageError

if TYPE_CHECKING:
    from openbalena.cluster.engine import Engine
    from openbalena.storage.move import Interruption, Request
    from openbalena.storage.record import Record

# Seconds; copying is bounded by --timeout.
_TIMEOUT = 3600.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the actions of `storage`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="show|move|forget")
    show = actions.add_parser("show", help="show where every volume lives, its size and its node")
    show.add_argument("--json", action="store_true", help="print one JSON document")
    move = actions.add_parser("move", help="bring a volume and what uses it to another node; safe to repeat")
    move.add_argument("volume", metavar="VOLUME", help="as storage show names it")
    move.add_argument("node", metavar="NODE", help="host name or id")
    move.add_argument("--timeout", metavar="SECONDS", type=seconds, default=_TIMEOUT, help="longest copy (3600)")
    move.add_argument("--yes", action="store_true", help="do not ask before the services that use it are stopped")
    forget = actions.add_parser("forget", help="accept that a volume starts empty, or as it is on the labelled node")
    forget.add_argument("volume", metavar="VOLUME")
    forget.add_argument("--yes", action="store_true", help="do not ask")
    for action in (show, move, forget):
        action.add_argument(
            "--take-over", metavar="LOCK", default="", help="take over the lock of a deploy that is gone"
        )


def run(args: argparse.Namespace, context: Context) -> int:
    """Do what `args.action` says; returns the exit status."""
    from openbalena import settings
    from openbalena.cluster import engine as engines
    from openbalena.cluster import lock

    stack = settings.load(context.project)["STACK_NAME"]
    engine = engines.current(context.lab)
    with engine.client() as client:
        engines.require_manager(client, engine)
        if args.action == "forget":
            _require_known(client, stack, args.volume)
            question = "Let the next swarm-up start {} with what is on the node that has its label, or empty?"
            if not context.console.confirm(question.format(args.volume), yes=args.yes):
                raise OperationError("nothing was forgotten")
        # Not under the lock: a question may stay open.
        if args.action == "move" and not (args.yes or _agreed(args, context, engine, client, stack)):
            raise OperationError("nothing was moved")
        with lock.held(client, f"storage {args.action}", args.take_over):
            action = {"show": _show, "move": _move, "forget": _forget}[args.action]
            action(args, context, engine, client, stack)
    return 0


def _show(args: argparse.Namespace, context: Context, engine: "Engine", client: Any, stack: str) -> None:
    from dataclasses import asdict

    from openbalena.cluster import state
    from openbalena.storage import record, volumes

    cluster = state.read(client, stack)
    found = volumes.find(engine, client, cluster, record.note(client, stack, cluster))
    if args.json:
        context.console.json({"stack": stack, "volumes": [asdict(volume) for volume in found]})
        return
    if not found:
        raise OperationError(f"the stack {stack} has no volumes in this swarm: run ./open-balena.sh swarm-up")
    rows = [
        (v.volume, v.node, _size(v.size), "yes" if v.pinned else "-", ",".join(v.services) or "-", v.remark)
        for v in found
    ]
    context.console.table([("VOLUME", "NODE", "SIZE", "PINNED", "SERVICES", ""), *rows])


def _agreed(args: argparse.Namespace, context: Context, engine: "Engine", client: Any, stack: str) -> bool:
    """Whether the user agrees to what a move stops."""
    from openbalena.cluster import lock, state
    from openbalena.storage import move, record, volumes

    with lock.held(client, "storage move", args.take_over):
        cluster = state.read(client, stack)
        known = record.seen(record.read(client, stack), cluster)
        what = move.interruption(cluster, known, stack, _request(args))
        if what is None:
            return True
        context.console.progress(f"measuring {what.volume} on {what.source} …")
        size = volumes.size(engine, client, cluster, known, what.volume)
    return context.console.confirm(question(what, size), yes=False)


def question(what: "Interruption", size: int | None) -> str:
    """What is asked before a move; `size` in bytes."""
    names, are, them = ", ".join(what.services), "is", "it"
    if len(what.services) > 1:
        are, them = "are", "them"
    measured = "its size is not known" if size is None else _size(size)
    return (
        f"{names} will be stopped, and what needs {them} will fail or wait, until volume {what.volume} ({measured}) is "
        f"copied from {what.source} to {what.target}, checked, and {names} {are} started there. Move it?"
    )


def _request(args: argparse.Namespace) -> "Request":
    from openbalena.storage import move

    return move.Request(args.volume, args.node, args.timeout)


def _move(args: argparse.Namespace, context: Context, engine: "Engine", client: Any, stack: str) -> None:
    from openbalena.storage import move

    move.run(engine, client, stack, _request(args), context.console.progress)
    context.console.say(f"Volume {args.volume} is on {args.node}, and what uses it runs there.")


def _forget(args: argparse.Namespace, context: Context, engine: "Engine", client: Any, stack: str) -> None:
    from openbalena.storage import record

    known = _require_known(client, stack, args.volume)
    record.write(client, stack, known.without_place(args.volume))
    context.console.say(f"{args.volume} is forgotten: the next swarm-up takes it as it is on the node with its label.")


def _require_known(client: Any, stack: str, volume: str) -> "Record":
    """What is remembered; raises UsageError where the volume is not."""
    from openbalena.storage import record

    known = record.read(client, stack)
    if volume not in known.places:
        names = ", ".join(sorted(known.places)) or "none"
        raise UsageError(f"storage forget {volume}: no such volume is remembered (there are: {names})")
    return known


def _size(size: int | None) -> str:
    """Bytes as IEC 80000-13 units: `12 KiB`, `3.4 GiB`; `?` where it is not known."""
    if size is None:
        return "?"
    value, units = float(size), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{value:.3g} {units[0]}" if value < 1000 else f"{value:.0f} {units[0]}"
