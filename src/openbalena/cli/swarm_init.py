"""Make this node a manager, set the labels that no node has yet, and print the join commands."""

import argparse

from openbalena.cli.argument_types import whole
from openbalena.cli.context import Context
from openbalena.cli.reporter import ConsoleReporter
from openbalena.operations.hints import invocation


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--advertise-addr", metavar="ADDRESS", default="", help="address by which the other nodes reach this one"
    )
    parser.add_argument(
        "--data-path-port",
        metavar="PORT",
        type=whole,
        default=0,
        help="UDP port of the overlay networks (default: 4789)",
    )
    parser.add_argument(
        "--default-addr-pool",
        metavar="CIDR",
        action="append",
        default=[],
        help="address pool of the overlay networks, such as 10.20.0.0/16 (may be repeated; default: 10.0.0.0/8)",
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Safe to repeat: an existing swarm and labels that are set are kept."""
    from openbalena.operations.initialise_swarm import initialise_swarm
    from openbalena.swarm.membership import Options

    console = context.console
    options = Options(args.advertise_addr, args.data_path_port, args.default_addr_pool)
    result = initialise_swarm(options, context.workspace, ConsoleReporter(context))
    console.say(
        "This node is now the first manager of a new swarm."
        if result.created
        else "This node is already a manager of a swarm."
    )
    for label in result.labels:
        console.say(f"  {label.label}=true  {'set on' if label.added else 'is on'} {', '.join(label.hostnames)}")
    for role, command in result.join_commands.items():
        console.say(f"To add a {role}, run on that node:\n  {command}")
    if result.ready_to_build:
        console.say(f"Next: {invocation(context.project, lab=context.lab)} swarm-build, once every node has joined")
    return 0
