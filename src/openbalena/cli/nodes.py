"""The nodes of a swarm: swarm-drain, swarm-activate, swarm-remove, swarm-rebalance."""

from __future__ import annotations

from argparse import Namespace

from openbalena.cli.console import Context
from openbalena.cli.options import command, flag, option, take_over, timeout

_NODE = option("node", metavar="NODE", help="its hostname, or its id")
# The longest stop_grace_period is the VPN's, 150 s; then its tasks must start elsewhere.
_TIMEOUT = timeout(300.0)


@command(_NODE, _TIMEOUT, flag("--yes", "do not prompt before services stop that only this node can run"), take_over())
def swarm_drain(args: Namespace, context: Context) -> None:
    """Move a node's tasks to other nodes, for its maintenance, and wait until none is left."""
    from openbalena.operations.node_availability import NodeOptions, drain_node

    options = NodeOptions(args.node, args.timeout, args.take_over)
    node = drain_node(options, context.workspace, context.console)
    context.console.say(f"{node.hostname} is drained. Next: {context.program} swarm-activate {node.hostname}")


@command(_NODE, _TIMEOUT, take_over())
def swarm_activate(args: Namespace, context: Context) -> None:
    """Let a drained node run tasks again, and wait until every service runs."""
    from openbalena.operations.node_availability import NodeOptions, activate_node

    options = NodeOptions(args.node, args.timeout, args.take_over)
    uneven = activate_node(options, context.workspace, context.console)
    context.console.say(f"{args.node} runs tasks again.")
    if uneven:
        context.console.say(f"Next: {context.program} swarm-rebalance, which moves tasks there")


@command(
    _NODE,
    _TIMEOUT,
    option("--host", metavar="HOST", default="", help="how its engine is reached: a Docker context or user@host"),
    flag("--yes", "do not prompt before services stop and the node is removed"),
    take_over(),
)
def swarm_remove(args: Namespace, context: Context) -> None:
    """Remove a node from the swarm for good, also one that is lost."""
    # Exit code 1 if it has data, or too few managers would be left.
    from openbalena.operations.node_availability import NodeOptions, remove_node

    options = NodeOptions(args.node, args.timeout, args.take_over, args.host)
    node = remove_node(options, context.workspace, context.console)
    context.console.say(f"{node.hostname} is no longer in the swarm.")


@command(_TIMEOUT, take_over())
def swarm_rebalance(args: Namespace, context: Context) -> None:
    """Restart services whose tasks are unevenly distributed, one task at a time."""
    from openbalena.operations.node_availability import NodeOptions, rebalance

    options = NodeOptions("", args.timeout, args.take_over)
    names = rebalance(options, context.workspace, context.console)
    context.console.say(f"Restarted {', '.join(names)}." if names else "Every service is evenly distributed.")
