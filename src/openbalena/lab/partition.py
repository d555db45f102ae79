"""Cut nodes off from others or slow them down, and undo it: the nodes keep running and the machine reaches them."""

from collections.abc import Sequence
from dataclasses import replace

from openbalena.base.errors import OperationError, UsageError
from openbalena.lab import host, network, state, wrappers


def cut(names: Sequence[str], others: Sequence[str] = ()) -> None:
    """Lose all packets between the nodes `names` and `others`, both ways; `others` are by default the rest of the lab.

    The nodes `names` still reach each other. Lasts until `heal`, also for a node that is killed and started meanwhile.
    Raises UsageError if no node is left to be cut off from, OperationError for an unknown node or without a lab.
    """
    host.require_root("lab partition")
    with state.exclusive("lab partition"):
        lab = state.require()
        here = {lab.node(name).name for name in names}
        there = {lab.node(name).name for name in others} or {node.name for node in lab.nodes} - here
        if both := here & there:
            raise UsageError(f"{', '.join(sorted(both))} cannot be cut off from itself: name it on one side only")
        if not there:
            raise UsageError("all nodes were named, so none is left that they could be cut off from")
        pairs = {_pair(one, other) for one in here for other in there}
        # Stored first: what a killed command did not do is done by the next one, or when the node starts.
        state.save(replace(lab, cut=tuple(sorted({*lab.cut, *pairs}))))
        for one, other in pairs:
            network.lose(lab.node(one), lab.node(other))
            network.lose(lab.node(other), lab.node(one))
        wrappers.aim_context()


def slow(name: str, *, delay: str = "", loss: str = "", rate: str = "") -> None:
    """Slow down all that the node `name` sends and receives, until `heal`, instead of how it was slow before.

    `delay` is for each direction, such as 100ms, `loss` in percent, such as 1%, `rate` in bits, such as 1mbit (tc(8)).
    Raises UsageError without any of them, OperationError for an unknown node, one that is down, and a kernel without
    netem, which only a rate does not need.
    """
    host.require_root("lab slow")
    netem = " ".join(f"{word} {value}" for word, value in (("delay", delay), ("loss", loss)) if value)
    if not netem and not rate:
        raise UsageError("lab slow: at least one of --delay, --loss and --rate is needed")
    # A queue of 400 ms, in which a burst of some full packets fits (tc-tbf(8)).
    words = f"netem {netem} {f'rate {rate}' if rate else ''}" if netem else f"tbf rate {rate} burst 32kb latency 400ms"
    with state.exclusive("lab slow"):
        lab = state.require()
        slowed = lab.node(name)
        if not network.namespace(name).exists():
            raise OperationError(f"{name} is down: run ./open-balena.sh lab start {name}")
        network.shape(slowed, words)
        state.save(replace(lab, slow=tuple({**dict(lab.slow), name: words.strip()}.items())))


def heal(names: Sequence[str] = ()) -> None:
    """Connect the nodes `names`, by default all, with all others again, at full speed.

    Raises OperationError for an unknown node or without a lab.
    """
    host.require_root("lab heal")
    with state.exclusive("lab heal"):
        reconnect(state.require(), names)
        wrappers.aim_context()


def reconnect(lab: state.Lab, names: Sequence[str] = ()) -> state.Lab:
    """`heal`, for a caller that has the lock; returns the changed lab."""
    nodes = [lab.node(name) for name in names] or lab.nodes
    healed = {node.name for node in nodes}
    cut = tuple(pair for pair in lab.cut if not healed & {*pair})
    changed = replace(lab, cut=cut, slow=tuple(each for each in lab.slow if each[0] not in healed))
    state.save(changed)
    for one in nodes:
        for other in lab.nodes:
            network.find_again(one, other)
            network.find_again(other, one)
        network.shape(one, "")
    return changed


def _pair(one: str, other: str) -> tuple[str, str]:
    first, second = sorted((one, other))
    return first, second
