"""swarm-down: removes the stack and waits until it is gone.

Its volumes, and the settings and PKI that their data needs, stay unless --volumes asks for them.
"""

import argparse

from openbalena.cli.context import Context
from openbalena.cli.numbers import seconds
from openbalena.errors import OperationError, UsageError

# Seconds; the longest stop_grace_period is the VPN's, 150 s.
_TIMEOUT = 300.0


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--volumes", action="store_true", help="remove volumes and settings too: all data is lost")
    parser.add_argument("--yes", action="store_true", help="do not ask before volumes are removed")
    parser.add_argument("--take-over", metavar="LOCK", default="", help="take over the lock of a deploy that is gone")
    parser.add_argument(
        "--node",
        metavar="NODE",
        action="append",
        default=[],
        help="where else volumes are: a Docker context, user@host or ssh://user@host (may be repeated)",
    )
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=seconds, default=_TIMEOUT, help=f"how long to wait ({_TIMEOUT:.0f})"
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Exit code 1 where something of the stack, or a volume that was to go, stays."""
    from openbalena import settings
    from openbalena.cluster import down, lock, state, stored
    from openbalena.cluster import engine as engines
    from openbalena.operations import settings_sync
    from openbalena.storage import record

    if args.node and not args.volumes:
        raise UsageError("swarm-down: --node is for --volumes alone")
    console = context.console
    stack = settings.load(context.project)["STACK_NAME"]
    engine = engines.current(context.lab)
    with engine.client() as client:
        engines.require_manager(client, engine)
        nodes = state.read(client, stack).nodes
        on_nfs = sorted(volume for volume, place in record.read(client, stack).places.items() if place.nfs)
        reached = engines.reach(engine, args.node)
        where, silent = down.volumes([engine, *reached, *engine.nodes], stack) if args.volumes else ([], [])
        for sentence in silent:
            console.warn(sentence)
        if any(item.names for item in where):
            for item in where:
                for name in item.names:
                    console.progress(f"  {item.hostname}: volume {name}")
            stays = f" (that of {', '.join(on_nfs)} stays on the NFS server)" if on_nfs else ""
            if not console.confirm(f"Remove the stack and these volumes with all their data{stays}?", yes=args.yes):
                raise OperationError("nothing was removed")
        with lock.held(client, "swarm-down", args.take_over):
            shown: list[str] = []

            def report(left: dict[str, list[str]]) -> None:
                text = ", ".join(f"{len(names)} {kind}{'s' * (len(names) != 1)}" for kind, names in left.items())
                if shown[-1:] != [text]:
                    shown.append(text)
                    console.progress(f"waiting for {text} to go")

            kept = settings_sync.leave(client, stack)
            down.remove(engine, client, stack, args.timeout, report)
            console.say(f"The stack {stack} is gone." if shown else f"There is no stack {stack}.")
            failed = [sentence for item in where for sentence in down.remove_volumes(item)]
            asked = {item.node_id for item in where}
            unknown = [node.hostname for node in nodes if node.id not in asked]
            if args.volumes and not failed:
                record.forget_node(client, stack, asked)
                # The data on the server needs them.
                if not unknown and not on_nfs:
                    stored.forget(client, stack)
                    kept = ""
    removed = sum(len(item.names) for item in where) - len(failed)
    if args.volumes:
        console.say(f"{removed} volumes were removed.")
        if on_nfs:
            console.say(
                f"What {', '.join(on_nfs)} had stays on the NFS server: swarm-up finds it again; when it is gone "
                "there, swarm-down --volumes once more forgets the settings too."
            )
        if unknown:
            failed.append(f"volumes on {', '.join(unknown)} could not be looked at: name them with --node")
    else:
        whose = "Its volumes stay" if shown else "Volumes that it left stay"
        console.say(f"{whose}: swarm-up finds them again; swarm-down --volumes removes them.")
    if kept:
        console.say(
            f"Its settings, tokens and PKI stay as the swarm's secret {kept}: another machine gets them with "
            "config --from-cluster, and no deploy with others is let at the data."
        )
    if failed:
        raise OperationError("not everything was removed:\n  " + "\n  ".join(failed))
    return 0
