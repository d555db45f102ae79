"""A disk of its own for the data of each node of the lab, and what happens to it: it is full, or it is slow."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from openbalena.lab import node, paths
from openbalena.lab.state import LabNode

# Files with holes: what nobody has written takes no space of the machine.
SIZE = "8G"
# Requests to the disk each second. A commit of PostgreSQL takes a few of them, one after the other.
SLOW = 20
# fallocate(1) fails in the end, since it needs some blocks for itself, and keeps what it has got.
_FILL = """
available() { df --output=avail --block-size=1 /var/lib/docker | tail -n 1; }
fallocate --length "$(available)" /var/lib/docker/filler 2>/dev/null
dd if=/dev/zero of=/var/lib/docker/rest bs=4k status=none 2>/dev/null
[ "$(available)" -lt 1000000 ]
"""
_THROTTLE = Path("/sys/fs/cgroup/blkio")
_LIMITS = ("blkio.throttle.read_iops_device", "blkio.throttle.write_iops_device")


def give_disks(*names: str) -> None:
    """Give each node a disk for its data; they must not have run yet."""
    for name in names:
        disk = _disk(name)
        disk.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["truncate", "--size", SIZE, disk], check=True)
        # No blocks are kept for root, which everything here is.
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", disk], check=True)


def _disk(name: str) -> Path:
    return paths.directory() / "nodes" / name / "disk"


@contextmanager
def full(victim: LabNode) -> Iterator[None]:
    """The node's disk has no room within."""
    _require(victim)
    try:
        assert node.shell(victim, ["sh", "-c", _FILL]) == 0
        yield
    finally:
        assert node.shell(victim, ["rm", "--force", "/var/lib/docker/filler", "/var/lib/docker/rest"]) == 0


@contextmanager
def slow(victim: LabNode) -> Iterator[None]:
    """The node's disk answers SLOW requests a second within, to each of its containers and to everything else.

    A group's limit does not hold for the groups below it (the kernel's Documentation/admin-guide/cgroup-v1/
    blkio-controller.rst): containers that start within are not slowed down.
    """
    device = _require(victim)
    groups = [
        _THROTTLE,
        *(path for path in (_THROTTLE / node.cgroup(victim.name).strip("/")).rglob("*") if path.is_dir()),
    ]
    _limit(groups, device, SLOW)
    try:
        yield
    finally:
        _limit(groups, device, 0)


def _limit(groups: list[Path], device: str, requests: int) -> None:
    """Limit the requests a second of each group to the device; 0 ends that. Groups of ended containers are gone."""
    for group in groups:
        for name in _LIMITS:
            try:
                (group / name).write_text(f"{device} {requests}\n")
            except FileNotFoundError:
                assert group != _THROTTLE, f"{_THROTTLE / name}: this machine has no blkio control groups (version 1)"


def _require(victim: LabNode) -> str:
    """The disk's device number, such as `7:0`."""
    listed = ["losetup", "--noheadings", "--output", "MAJ:MIN", "--associated", str(_disk(victim.name))]
    device = subprocess.check_output(listed, text=True).strip()
    assert device, f"{victim.name} has no disk of its own: take the lab down, so that the tests start one with disks"
    return device
