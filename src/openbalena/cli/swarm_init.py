"""swarm-init: this node becomes a manager, gets the labels that no node has yet, and says how others join."""

import argparse

from openbalena.cli.context import Context
from openbalena.errors import OperationError


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--advertise-addr", metavar="ADDRESS", default="", help="address the other nodes reach this one by"
    )
    parser.add_argument(
        "--data-path-port", metavar="PORT", type=int, default=0, help="UDP port of the overlay network (4789)"
    )
    parser.add_argument(
        "--default-addr-pool",
        metavar="CIDR",
        action="append",
        default=[],
        help="address pool of the overlay networks, as 10.20.0.0/16 (may be repeated; Docker's is 10.0.0.0/8)",
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Safe to repeat: what is there already stays as it is."""
    from openbalena.cluster import engine as engines
    from openbalena.cluster import labels, state, swarm

    console = context.console
    wanted = _labels(context)
    options = swarm.Options(args.advertise_addr, args.data_path_port, args.default_addr_pool)
    engine = engines.current(context.lab)
    with engine.client() as client:
        found = swarm.state(client)
        if found.get("LocalNodeState") == "inactive":
            swarm.init(engine, options)
            console.say("This node is now the first manager of a new swarm.")
        else:
            engines.require_manager(client, engine)
            if differ := swarm.differences(found, options):
                raise OperationError(
                    f"{engine.name} is in a swarm whose {' and '.join(differ)}; Docker cannot change that later: "
                    "leave the swarm (`docker swarm leave --force`) on every node and start anew, or drop the option"
                )
            console.say("This node is a manager of a swarm already.")
        cluster = state.read(client, "")
        name = cluster.hostname(cluster.this_node)
        absent = labels.missing(cluster.nodes, wanted)
        if absent:
            labels.add(client, cluster.this_node, dict.fromkeys(absent, "true"))
        for label in wanted:
            where = [node.hostname for node in labels.holders(cluster.nodes, label)]
            console.say(f"  {label}=true  {'set on ' + name if label in absent else 'is on ' + ', '.join(where)}")
        for role, command in swarm.join_commands(client).items():
            console.say(f"To add a {role}, run there:\n  {command}")
    return 0


def _labels(context: Context) -> tuple[str, ...]:
    """The labels that the deployment's services ask for; without a configuration yet, the ingress label alone."""
    from openbalena import deployment
    from openbalena.cluster.placement import INGRESS_LABEL, ours

    if not context.project.env_file.exists():
        context.console.warn(
            f"{context.project.env_file} is not there, so it is not known which volumes need a node label: "
            "run ./open-balena.sh config, then swarm-init again"
        )
        return (INGRESS_LABEL,)
    return ours(deployment.load(context.project, lab=context.lab).compiled.node_labels)
