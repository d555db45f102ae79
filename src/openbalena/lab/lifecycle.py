"""Operations on a whole lab: up, down, and killing and restarting a node."""

import shutil
from contextlib import suppress
from pathlib import Path

from openbalena.base.errors import UsageError
from openbalena.lab import host, network, node, partition, paths, state, swarm, wrappers
from openbalena.lab.host import say
from openbalena.lab.roots import build_root

# sid has the newest Docker Engine of Debian's suites: 28.5 in November 2026, while trixie has 26.1. openvpn is for the
# client of the acceptance checks.
SUITE = "sid"
PACKAGES = ("docker.io", "docker-cli", "docker-compose", "iptables", "iproute2", "ca-certificates", "openvpn")
MAX_NODES = 20
_RUNTIME_PATHS = ("nodes", "run", "bin", "demo", "state.json")
_CACHE = ("roots", "tools", "tools-new", "locks")


def up(managers: int | None = None, workers: int | None = None) -> state.Lab:
    """Start the lab, or repair a running one; by default 3 managers and no workers.

    Raises UsageError if a lab of another size is running, OperationError on failure; a lab that did not exist before is
    then removed again, except for its logs.
    """
    host.require_root("lab up")
    host.require_programs("ip", "nsenter", "unshare", "setsid", "mount", hint="Install iproute2 and util-linux.")
    with state.exclusive("lab up"):
        existing = state.load_lab()
        if existing is None:
            return _create(*_sizes(managers, workers))
        sizes = (len(existing.managers), len(existing.workers))
        if (managers, workers) != (None, None) and _sizes(managers, workers) != sizes:
            raise UsageError(
                f"a lab of {sizes[0]} managers and {sizes[1]} workers is running: change it with lab add and lab "
                "remove, or run ./open-balena.sh lab down before starting another"
            )
        whole = partition.reconnect(existing)
        _start_missing(whole)
        return whole


def down(*, purge: bool = False) -> None:
    """Take the lab down, whatever its state; keep roots and tools unless `purge`."""
    host.require_root("lab down")
    with state.exclusive("lab down"):
        _take_down()
        _delete("log")
        if purge:
            _delete(*_CACHE)
            with suppress(OSError):  # it contains files of the user, or is a mount point
                paths.directory().rmdir()


def kill(name: str) -> None:
    """Kill the node `name` as in a power failure: first its link, then every process, without notifying the others."""
    host.require_root("lab kill")
    with state.exclusive("lab kill"):
        cut_power(state.require().node(name))
        wrappers.aim_context()


def cut_power(victim: state.LabNode) -> None:
    """`kill`, for a caller that has the lock."""
    network.disconnect(victim)
    node.stop(victim.name)
    network.unplug(victim.name)


def start_node(name: str) -> None:
    """Start the node `name` again, with its data, and wait until it is ready in the swarm."""
    host.require_root("lab start")
    with state.exclusive("lab start"):
        lab = state.require()
        returning = lab.node(name)
        network.ensure_switch(lab)
        node.start_engine(returning, lab)
        node.wait_ready(returning)
        wrappers.aim_context()
        swarm.wait_back(lab, returning)


def _create(managers: int, workers: int) -> state.Lab:
    if managers < 1 or workers < 0 or managers + workers > MAX_NODES:
        raise UsageError(f"--managers must be at least 1, --workers at least 0, together at most {MAX_NODES}")
    root = build_root("node", SUITE, PACKAGES)

    def save(subnet: str) -> state.Lab:
        lab = state.numbered(subnet, str(root), managers, workers)
        state.save(lab)
        return lab

    try:
        lab = network.claim_subnet(save)
        _start_missing(lab)
    except BaseException:
        say("removing the incomplete lab")
        _take_down()
        raise
    return lab


def _sizes(managers: int | None, workers: int | None) -> tuple[int, int]:
    return (3 if managers is None else managers, 0 if workers is None else workers)


def _start_missing(lab: state.Lab) -> None:
    wrappers.wrap(Path(lab.root), paths.directory() / "bin")
    network.ensure_switch(lab)
    missing = [item for item in lab.nodes if node.process(item.name) is None]
    if missing:
        say(f"starting {len(missing)} Docker Engines: {', '.join(item.name for item in missing)}")
    for item in lab.nodes:
        node.start_engine(item, lab)
    for item in lab.nodes:
        node.wait_ready(item)
    swarm.form(lab)
    wrappers.aim_context()


def _take_down() -> None:
    names = [name for name in network.network_names() if name != network.SWITCH]
    if names:
        say(f"stopping {', '.join(names)}")
    for name in names:
        node.stop(name)
    node.remove_cgroups()
    network.remove_network()
    wrappers.remove_context()
    _delete(*_RUNTIME_PATHS)


def _delete(*names: str) -> None:
    for path in (paths.directory() / name for name in names):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
