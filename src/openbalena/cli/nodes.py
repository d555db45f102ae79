"""The nodes of a swarm: swarm-join, swarm-drain, swarm-activate, swarm-remove, swarm-rebalance."""

from __future__ import annotations

from argparse import Namespace

from openbalena.cli.argument_types import node_label
from openbalena.cli.console import Context
from openbalena.cli.options import command, flag, option, take_over, timeout

_NODE = option("node", metavar="NODE", help="its hostname, or its id")
# The longest stop_grace_period is the VPN's, 150 s; then its tasks must start elsewhere.
_TIMEOUT = timeout(300.0)


@command(
    option("host", metavar="HOST", help="user@host, ssh://user@host:port, or a name of the ssh configuration"),
    option("--role", choices=("manager", "worker"), default="", help="what it becomes (default: worker)"),
    option(
        "--label",
        metavar="NAME[=VALUE]",
        type=node_label,
        action="append",
        default=[],
        help="set a node label, such as openbalena.ingress=true (may be repeated)",
    ),
    flag("--install-engine", "install the distribution's Docker Engine if it has none (Debian, Ubuntu)"),
    option("--advertise-addr", metavar="ADDRESS", default="", help="address by which the other nodes reach it"),
    timeout(120.0, "how long to wait until it is ready"),
    flag("--yes", "do not prompt before a machine that was removed from this swarm joins again"),
    take_over(),
)
def swarm_join(args: Namespace, context: Context) -> None:
    """Check a machine over ssh, copy the images built here to it, and make it a node of this swarm.

    Safe to repeat: what is done already is kept.

    The exit code is 1 if it cannot join, with every reason.
    """
    from openbalena.operations.join_node import JoinOptions, join_node
    from openbalena.swarm.nodes import status_text

    say = context.console.say
    options = JoinOptions(
        args.host, args.role, dict(args.label), args.install_engine, args.advertise_addr, args.timeout, args.take_over
    )
    result = join_node(options, context.workspace, context.console)
    name, role = result.node.hostname, result.node.role
    say(f"{name} has joined the swarm as a {role}." if result.joined else f"{name} was in the swarm as a {role}.")
    for label, value in args.label:
        say(f"  {label}={value}  set")
    for volume in result.volumes:
        say(f"  {volume}  has its data on {name}: label and record now name its new membership")
    if result.copied:
        say(f"Copied {', '.join(result.copied)}.")
    for node in result.previous:
        say(f"Its previous membership is still listed. To remove it: {context.program} swarm-remove {node.id}")
    for node in result.namesakes:
        say(
            f"{node.hostname} ({node.address}) is still listed, as {status_text(node)}. If that was this machine: "
            f"{context.program} swarm-remove {node.id}"
        )
    build = f"swarm-build --node {args.host}"
    say(f"Next: {context.program} {'swarm-rebalance, which moves tasks there' if result.deployed else build}")


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
    """Remove a node from the swarm for good, also one that is lost.

    The exit code is 1 if it has data, or too few managers would be left.
    """
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
