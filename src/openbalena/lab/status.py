"""What `lab status` shows: the nodes as this machine and as the swarm see them."""

from dataclasses import dataclass

from openbalena.cluster.placement import INGRESS_LABEL
from openbalena.lab import state, swarm
from openbalena.lab.endpoint import accepts


@dataclass(frozen=True)
class NodeStatus:
    """One node: `running` as its socket says, `swarm` and `manager` as the managers see it.

    `swarm` is `none` for a node that is in no swarm with them, `unknown` where no manager can say, `left` where the
    managers list a node still that has left.
    """

    name: str
    address: str
    running: bool
    swarm: str
    manager: str
    ingress: bool
    socket: str


def read() -> list[NodeStatus]:
    """All nodes of the lab that was started; raises OperationError where none was."""
    lab = state.require()
    members = swarm.members(lab)
    result = []
    for node in lab.nodes:
        member = members.get(node.name, {})
        status = member.get("ManagerStatus", {})
        running = accepts(node.socket)
        seen = member.get("Status", {}).get("State", "none" if members else "unknown")
        # The managers go on calling it ready until they miss it.
        gone = running and bool(member) and swarm.local_state(node) == "inactive"
        result.append(
            NodeStatus(
                name=node.name,
                address=node.address,
                running=running,
                swarm="left" if gone else seen,
                manager="leader" if status.get("Leader") else status.get("Reachability", ""),
                ingress=member.get("Spec", {}).get("Labels", {}).get(INGRESS_LABEL) == "true",
                socket=str(node.socket),
            )
        )
    return result
