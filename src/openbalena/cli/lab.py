"""A local cluster of real Docker Engines on this machine.

Each node is a Docker Engine in its own network namespace; everything is below one directory
(OPEN_BALENA_LAB_DIR, by default /var/lib/open-balena-lab) and needs root.
"""

from __future__ import annotations

import signal
from argparse import REMAINDER, Namespace
from dataclasses import asdict, replace
from types import FrameType
from typing import TYPE_CHECKING

from openbalena.base.errors import OpenBalenaError
from openbalena.cli.argument_types import whole
from openbalena.cli.console import Context
from openbalena.cli.options import JSON, command, flag, group, option
from openbalena.lab import paths, state
from openbalena.operations.hints import program

if TYPE_CHECKING:
    from openbalena.lab.status import NodeStatus
    from openbalena.operations.demo import DemoResult

_NODE = option("node", metavar="NODE")
_NODES = option("nodes", metavar="NODE", nargs="+")

lab = group(__doc__)


@lab.action(
    "up",
    "start the lab, or repair what is missing",
    option("--managers", type=whole, metavar="N", help="number of managers (default: 3)"),
    option("--workers", type=whole, metavar="N", help="number of workers (default: 0)"),
)
def _up(args: Namespace, context: Context) -> None:
    from openbalena.lab import lifecycle

    lifecycle.up(args.managers, args.workers)
    _show_nodes(context)


@lab.action("status", "show the lab's nodes", JSON)
def _status(args: Namespace, context: Context) -> None:
    from openbalena.lab import status

    if not args.json:
        _show_nodes(context)
        return
    nodes, subnet = [asdict(node) for node in status.read_status()], state.require().subnet
    context.console.json({"subnet": subnet, "context": paths.context_name(), "nodes": nodes})


def _show_nodes(context: Context) -> None:
    from openbalena.lab import status

    head = ("NODE", "ADDRESS", "ENGINE", "SWARM", "MANAGER", "INGRESS", "NETWORK")
    rows = [
        (
            *(n.name, n.address, "up" if n.running else "down", n.swarm, n.manager or "-"),
            *("yes" if n.ingress else "-", _network_text(n)),
        )
        for n in status.read_status()
    ]
    context.console.table([head, *rows])
    context.console.say(
        f"Use it with --lab, OPEN_BALENA_LAB=1, or docker --context {paths.context_name()} "
        f"(a docker binary: {paths.directory() / 'bin' / 'docker'})."
    )


def _network_text(node: NodeStatus) -> str:
    cut = f"cut off from {', '.join(node.cut_from)}" if node.cut_from else ""
    return "; ".join(filter(None, (cut, node.slow))) or "-"


@lab.action(
    "shell", "open a shell on a node, or run a command there", _NODE, option("words", nargs=REMAINDER, metavar="CMD")
)
def _shell(args: Namespace, _: Context) -> int:
    from openbalena.lab import node

    return node.shell(state.require().node(args.node), args.words)


@lab.action("kill", "disconnect and kill a node, as a power failure would", _NODE)
def _kill(args: Namespace, context: Context) -> None:
    from openbalena.lab import lifecycle

    lifecycle.kill(args.node)
    again = f"{program(context.project, lab=True)} lab start {args.node}"
    context.console.say(f"{args.node} is down; to restart it, run {again}")


@lab.action("start", "start a killed node again", _NODE)
def _start(args: Namespace, context: Context) -> None:
    from openbalena.lab import lifecycle

    lifecycle.start_node(args.node)
    context.console.say(f"{args.node} is up again.")


@lab.action(
    "add",
    "add a node to the running lab and join it to the swarm",
    option("node", metavar="NODE", nargs="?", default="", help="default: the lowest free one of node1, node2, …"),
    flag("--manager", "as a manager, not a worker"),
    flag("--no-join", "leave it outside the swarm"),
)
def _add(args: Namespace, context: Context) -> None:
    from openbalena.lab import members

    members.add(args.node, manager=args.manager, join=not args.no_join)
    _show_nodes(context)


@lab.action("remove", "kill a node and delete its data, as if its machine were gone", _NODE)
def _remove(args: Namespace, context: Context) -> None:
    from openbalena.lab import members

    members.remove(args.node)
    _show_nodes(context)


@lab.action(
    "partition",
    "cut nodes off from the rest of the lab, as if the network between them failed",
    _NODES,
    option(
        "--from",
        dest="others",
        metavar="NODE",
        action="append",
        default=[],
        help="cut them off from this node only (may be repeated)",
    ),
)
def _partition(args: Namespace, context: Context) -> None:
    from openbalena.lab import partition

    partition.cut(args.nodes, args.others)
    _show_nodes(context)


@lab.action(
    "slow",
    "slow down the network of a node",
    _NODE,
    option("--delay", metavar="TIME", default="", help="delay each packet sent and received, for example 100ms"),
    option("--loss", metavar="PERCENT", default="", help="lose some packets, for example 1%%"),
    option("--rate", metavar="RATE", default="", help="limit the bits per second, for example 1mbit"),
)
def _slow(args: Namespace, context: Context) -> None:
    from openbalena.lab import partition

    partition.slow(args.node, delay=args.delay, loss=args.loss, rate=args.rate)
    _show_nodes(context)


@lab.action(
    "heal",
    "connect nodes that were cut off again, and end what lab slow did",
    option("nodes", metavar="NODE", nargs="*", help="default: all"),
)
def _heal(args: Namespace, context: Context) -> None:
    from openbalena.lab import partition

    partition.heal(args.nodes)
    _show_nodes(context)


@lab.action(
    "down", "remove the lab; its cache of root file systems and images is kept", flag("--purge", "delete the cache too")
)
def _down(args: Namespace, context: Context) -> None:
    from openbalena.lab import lifecycle

    lifecycle.down(purge=args.purge)
    context.console.say("The lab is down." if not args.purge else "The lab and its cache were removed.")


_DEMO_HELP = """\
A whole openBalena on this machine: three real Docker Engines, a swarm, the stack on it, and every check.

It needs root on Linux, access to Debian's packages (not to an image registry), and takes less than 10 minutes the first
time, less than 3 after that. The api, VPN, registry and the others are stand-ins built from Debian packages unless
--real-images is given. At the end everything is removed unless --keep is given.

The exit code is 1 if a step fails or is interrupted.
"""


@command(
    flag("--keep", "leave the lab and the deployment running"),
    flag(
        "--real-images",
        "use openBalena's own images, not stand-ins; this machine's Docker must have them or be able to pull them",
    ),
    help_text=_DEMO_HELP,
)
def demo(args: Namespace, context: Context) -> int:
    """Exit code 1 if a step fails or is interrupted."""
    from openbalena.operations.demo import DemoOptions, Steps, deploy_demo, end_demo, prepare_demo

    workspace = prepare_demo()
    ours = replace(context, project=workspace.project, lab=True)

    reporter, steps = context.console.agreeing(), Steps(context.console.say)
    signal.signal(signal.SIGTERM, _interrupt)
    status = 1
    try:
        _show_demo(deploy_demo(DemoOptions(args.real_images), workspace, reporter, steps), ours, keep=args.keep)
        status = 0
    except (OpenBalenaError, OSError, KeyboardInterrupt) as error:
        reason = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
        context.console.progress(f"The demo failed {steps.where}: {reason}")
    finally:
        end_demo(workspace, reporter, steps, keep=args.keep)
    return status


def _show_demo(result: DemoResult, context: Context, *, keep: bool) -> None:
    from openbalena.operations.demo import Guide

    console = context.console
    console.table([("SERVICE", "NODES"), *result.placement])
    if keep:
        console.say("Next steps:", *Guide(context.project, result.address).lines())
    else:
        console.say(f"To explore it, run {program(context.project, lab=True)} demo --keep")


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt
