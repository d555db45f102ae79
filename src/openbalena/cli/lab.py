"""A local cluster of real Docker Engines on this machine.

Each node is a Docker Engine in its own network namespace; everything is below one directory
(OPEN_BALENA_LAB_DIR, by default /var/lib/open-balena-lab) and needs root.
"""

import argparse

from openbalena.cli.argument_types import whole
from openbalena.cli.context import Context
from openbalena.operations.hints import program


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the actions of `lab`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="up|status|shell|kill|start|down")
    up = actions.add_parser("up", help="start the lab, or repair what is missing")
    up.add_argument("--managers", type=whole, metavar="N", help="number of managers (default: 3)")
    up.add_argument("--workers", type=whole, metavar="N", help="number of workers (default: 0)")
    status = actions.add_parser("status", help="show the lab's nodes")
    status.add_argument("--json", action="store_true", help="print one JSON document")
    shell = actions.add_parser("shell", help="open a shell on a node, or run a command there")
    shell.add_argument("node", metavar="NODE")
    shell.add_argument("words", nargs=argparse.REMAINDER, metavar="CMD")
    for action, text in (
        ("kill", "disconnect and kill a node, as a power failure would"),
        ("start", "start a killed node again"),
    ):
        actions.add_parser(action, help=text).add_argument("node", metavar="NODE")
    down = actions.add_parser("down", help="remove the lab; its cache of root file systems and images is kept")
    down.add_argument("--purge", action="store_true", help="delete the cache too")


def run(args: argparse.Namespace, context: Context) -> int:
    """Run the action; returns the exit status."""
    from openbalena.lab import lifecycle, node, state

    if args.action == "up":
        lifecycle.up(args.managers, args.workers)
        return _show(context, as_json=False)
    if args.action == "status":
        return _show(context, as_json=args.json)
    if args.action == "shell":
        return node.shell(state.require().node(args.node), args.words)
    if args.action == "kill":
        lifecycle.kill(args.node)
        again = f"{program(context.project, lab=True)} lab start {args.node}"
        context.console.say(f"{args.node} is down; to restart it, run {again}")
    elif args.action == "start":
        lifecycle.start_node(args.node)
        context.console.say(f"{args.node} is up again.")
    else:
        lifecycle.down(purge=args.purge)
        context.console.say("The lab is down." if not args.purge else "The lab and its cache were removed.")
    return 0


def _show(context: Context, *, as_json: bool) -> int:
    from dataclasses import asdict

    from openbalena.lab import paths, state, status

    nodes = status.read_status()
    if as_json:
        lab = state.require()
        context.console.json(
            {"subnet": lab.subnet, "context": paths.context_name(), "nodes": [asdict(node) for node in nodes]}
        )
        return 0
    head = ("NODE", "ADDRESS", "ENGINE", "SWARM", "MANAGER", "INGRESS")
    rows = [
        (n.name, n.address, "up" if n.running else "down", n.swarm, n.manager or "-", "yes" if n.ingress else "-")
        for n in nodes
    ]
    context.console.table([head, *rows])
    context.console.say(
        f"Use it with --lab, OPEN_BALENA_LAB=1, or docker --context {paths.context_name()} "
        f"(a docker binary: {paths.directory() / 'bin' / 'docker'})."
    )
    return 0
