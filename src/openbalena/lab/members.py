"""Nodes that are added to a running lab, and removed from it for good."""

import re
import shutil
from dataclasses import replace

from openbalena.base.errors import UsageError
from openbalena.lab import host, lifecycle, node, partition, paths, state, swarm, wrappers


def add(name: str = "", *, manager: bool = False, join: bool = True) -> state.LabNode:
    """Start a new node, by default with the lowest free number, and join it to the swarm unless `join` is false.

    A node that exists is started and joined if it is not. Raises UsageError for a name that a node cannot have and for
    a node that exists in the other role, OperationError without a lab, and if the node could not start or join.
    """
    host.require_root("lab add")
    with state.exclusive("lab add"):
        lab = state.require()
        number = _number(name, lab)
        managers, workers = {*lab.managers}, {*lab.workers}
        if number in (workers if manager else managers):
            raise UsageError(f"{name} is a {'worker' if manager else 'manager'}: lab remove {name} first")
        (managers if manager else workers).add(number)
        lab = replace(lab, managers=tuple(sorted(managers)), workers=tuple(sorted(workers)))
        state.save(lab)
        added = lab.node(f"node{number}")
        node.start_engine(added, lab)
        node.wait_ready(added)
        if join:
            swarm.join(lab, added)
        wrappers.aim_context()
        return added


def remove(name: str) -> None:
    """Kill the node `name` and delete its data, as if its machine were gone: the swarm keeps its entry of it.

    Raises OperationError for an unknown node, UsageError for the last manager.
    """
    host.require_root("lab remove")
    with state.exclusive("lab remove"):
        lab = state.require()
        removed = lab.node(name)
        number = int(name.removeprefix("node"))
        if lab.managers == (number,):
            raise UsageError(
                f"{name} is the last manager of the lab: run ./open-balena.sh lab down to remove all of it"
            )
        lifecycle.cut_power(removed)
        lab = partition.reconnect(lab, [name])
        for directory in (paths.directory() / "nodes" / name, removed.socket.parent):
            shutil.rmtree(directory, ignore_errors=True)
        managers = tuple(each for each in lab.managers if each != number)
        workers = tuple(each for each in lab.workers if each != number)
        state.save(replace(lab, managers=managers, workers=workers))
        wrappers.aim_context()


def _number(name: str, lab: state.Lab) -> int:
    """The number of the node `name`, or a free one."""
    taken = {*lab.managers, *lab.workers}
    free = next(number for number in range(1, lifecycle.MAX_NODES + 2) if number not in taken)
    known = re.fullmatch(r"node([1-9][0-9]?)", name or f"node{free}")
    if known is None or int(known[1]) > lifecycle.MAX_NODES:
        raise UsageError(f"{name or 'lab add'}: nodes are called node1 to node{lifecycle.MAX_NODES}")
    return int(known[1])
