"""The data of `lab status`: the nodes as this machine and as the swarm see them."""

from dataclasses import dataclass

from openbalena.base.names import INGRESS_LABEL
from openbalena.lab import state, swarm
from openbalena.lab.endpoint import accepts


@dataclass(frozen=True)
class NodeStatus:
    """One node: `running` according to its socket, `swarm` and `manager` according to the managers.

    `swarm` is `none` for a node that is not in the swarm, `unknown` if no manager answers, and `left` for a node that
    has left but is still listed by the managers. `cut_from` has the nodes that it was cut off from, `slow` how
    its network is slow.
    """

    name: str
    address: str
    running: bool
    swarm: str
    manager: str
    ingress: bool
    cut_from: list[str]
    slow: str
    socket: str


def read_status() -> list[NodeStatus]:
    """All nodes of the lab; raises OperationError if no lab was started."""
    lab = state.require()
    members = swarm.members(lab)
    result = []
    for node in lab.nodes:
        member = members.get(node.name, {})
        status = member.get("ManagerStatus", {})
        running = accepts(node.socket)
        listed = member.get("Status", {}).get("State", "none" if members else "unknown")
        # The managers report it as ready until they notice that it has left.
        left = running and bool(member) and swarm.local_state(node) == "inactive"
        result.append(
            NodeStatus(
                name=node.name,
                address=node.address,
                running=running,
                swarm="left" if left else listed,
                manager="leader" if status.get("Leader") else status.get("Reachability", ""),
                ingress=member.get("Spec", {}).get("Labels", {}).get(INGRESS_LABEL) == "true",
                cut_from=lab.cut_from(node.name),
                slow=dict(lab.slow).get(node.name, ""),
                socket=str(node.socket),
            )
        )
    return result
