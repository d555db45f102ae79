"""swarm-init: this node becomes a manager, gets the labels that no node has yet, and says how others join."""

import argparse

from openbalena.cli.context import Context
from openbalena.cli.numbers import whole
from openbalena.errors import OperationError
from openbalena.invocation import invocation


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--advertise-addr", metavar="ADDRESS", default="", help="address the other nodes reach this one by"
    )
    parser.add_argument(
        "--data-path-port", metavar="PORT", type=whole, default=0, help="UDP port of the overlay network (4789)"
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
    from openbalena.cluster.placement import DATA_LABEL
    from openbalena.storage import guard, record

    console = context.console
    stack, wanted = _labels(context)
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
        absent = labels.missing(cluster.nodes, wanted)
        places = record.read(client, stack).places if stack else {}
        for label in absent:
            # A volume that was in use goes on where its data is, even where its node lost the label meanwhile.
            place = places.get(label.removeprefix(DATA_LABEL))
            holder = place.node if place else cluster.this_node
            if place and cluster.node(holder) is None:
                console.warn(f"{label} was not set: {guard.gone(label.removeprefix(DATA_LABEL), place)}")
                continue
            labels.add(client.api, holder, {label: "true"})
            console.say(f"  {label}=true  set on {cluster.hostname(holder)}")
        for label in [label for label in wanted if label not in absent]:
            where = [node.hostname for node in labels.holders(cluster.nodes, label)]
            console.say(f"  {label}=true  is on {', '.join(where)}")
        for role, command in swarm.join_commands(client).items():
            console.say(f"To add a {role}, run there:\n  {command}")
        if stack and (absent or not state.read(client, stack).services):
            ours = invocation(context.project, lab=context.lab)
            console.say(f"Next: {ours} swarm-build, once every node has joined")
    return 0


def _labels(context: Context) -> tuple[str, tuple[str, ...]]:
    """The stack's name and the labels that its services ask for; before `config`, the ingress label alone."""
    from openbalena.cluster.placement import INGRESS_LABEL, ours
    from openbalena.operations import deployment

    if not context.project.env_file.exists():
        context.console.warn(
            f"{context.project.env_file} is not there, so it is not known which volumes need a node label: "
            "run ./open-balena.sh config, then swarm-init again"
        )
        return "", (INGRESS_LABEL,)
    loaded = deployment.load(context.project, lab=context.lab)
    return loaded.settings["STACK_NAME"], ours(loaded.compiled.node_labels)
