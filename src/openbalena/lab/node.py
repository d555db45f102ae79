"""One node: a Docker Engine as process 1 of its own namespaces, in its own Debian root.

A kill -9 of process 1 also kills containerd, every shim and every container of the node, and removes its mounts.
"""

import os
import select
import signal
import subprocess
import time
from pathlib import Path

from openbalena.base.errors import OperationError
from openbalena.base.files import write_atomic
from openbalena.lab import capabilities, host, network, paths
from openbalena.lab.endpoint import accepts
from openbalena.lab.state import Lab, LabNode

_START_BOUND = 90.0  # seconds until an engine answers; 2 s is typical
_STOP_BOUND = 30.0  # seconds until the kernel has removed a killed node; under 1 s is typical

# The overlay's upper layer and /var/lib/docker are on the machine's file system and survive the engine; a file `disk`,
# which has a file system, holds /var/lib/docker instead, so that it can be full or slow for this node alone. Its mount
# and its loop device end with the node's last process, as all mounts here do. /sys is bind
# mounted, because a new one would lack the control groups. runc needs pivot_root; a chroot is not enough.
# No name server answers on 127.0.0.1, on the node or in a container, so that names unknown to Docker fail immediately
# instead of after the timeouts of the public name servers that Docker falls back to. The socket's group is root, since
# the id of the group `docker` in the node's root may belong to any group on this machine.
_ENTER = """\
set -e
lower=$1 own=$2 run=$3 name=$4 parent=$5 pretend=$6
hostname "$name"
mkdir -p "$own/upper" "$own/work" "$own/root" "$own/docker"
[ ! -e "$own/disk" ] || mount -o loop "$own/disk" "$own/docker"
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$own/upper,workdir=$own/work" "$own/root"
cd "$own/root"
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
mkdir -p run/lab var/lib/docker .machine
mount --bind "$run" run/lab
mount --bind "$own/docker" var/lib/docker
echo "$name" > etc/hostname
printf '127.0.0.1 localhost\\n127.0.1.1 %s\\n' "$name" > etc/hosts
rm -f etc/resolv.conf
echo nameserver 127.0.0.1 > etc/resolv.conf
pivot_root . .machine
cd /
umount -l /.machine
eval "$pretend"
exec env -i PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DOCKER_SERVICE_PREFER_OFFLINE_IMAGE=1 \\
    dockerd --group root --dns 127.0.0.1 --host unix:///run/docker.sock --host unix:///run/lab/docker.sock \\
    --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "$parent"
"""


def start_engine(node: LabNode, lab: Lab) -> None:
    """Start the engine of `node` unless it is running. Does not wait until it answers: see wait_ready."""
    network.plug(node, lab)
    if process(node.name) is not None:
        return
    own, run = paths.directory() / "nodes" / node.name, socket_directory(node)
    own.mkdir(parents=True, exist_ok=True)
    node.socket.unlink(missing_ok=True)
    enter = ["setsid", "--fork", "nsenter", f"--net={network.namespace(node.name)}"]
    isolate = ["unshare", "--mount", "--uts", "--ipc", "--pid", "--fork"]
    arguments = [lab.root, own, run, node.name, cgroup(node.name), _make_up_for_capabilities(own)]
    script = ["sh", "-c", _ENTER, "node", *map(str, arguments)]
    with paths.log(node.name).open("a") as output:
        subprocess.run(
            [*enter, *isolate, *script],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=True, cwd="/", timeout=30,
        )  # fmt: skip


def socket_directory(node: LabNode) -> Path:
    """Create and return the directory for the socket of `node`, inside one that only the owner can access."""
    directory = node.socket.parent
    directory.mkdir(parents=True, exist_ok=True)
    directory.parent.chmod(0o700)
    return directory


def _make_up_for_capabilities(own: Path) -> str:
    """Install a wrapper for runc if the machine lacks capabilities; returns the shell commands for the node's start."""
    names = capabilities.missing_capabilities()
    if not names:
        return ""
    directory = own / "upper/usr/local/sbin"
    directory.mkdir(parents=True, exist_ok=True)
    write_atomic(directory / "runc", capabilities.runc_without(names), mode=0o755)
    return capabilities.PRETEND


def wait_ready(node: LabNode) -> None:
    """Wait until the engine of `node` answers. Raises OperationError with its last log lines if it does not."""
    deadline = time.monotonic() + _START_BOUND
    grace = time.monotonic() + 2.0  # the process appears shortly after setsid has returned
    while not accepts(node.socket):
        if process(node.name) is None and time.monotonic() > grace:
            raise OperationError(f"the engine of {node.name} exited: {_last_words(node)}")
        if time.monotonic() > deadline:
            raise OperationError(
                f"the engine of {node.name} did not answer within {_START_BOUND:.0f} s: {_last_words(node)}"
            )
        time.sleep(0.05)


def stop(name: str) -> None:
    """Kill every process of the node `name` and delete its control groups, which the kernel does not."""
    deadline = time.monotonic() + _STOP_BOUND
    pid = process(name)
    if pid is not None:
        _kill(pid)
    while process(name) is not None or not _remove_cgroups(cgroup(name)):
        if time.monotonic() > deadline:
            raise OperationError(f"the processes of {name} did not exit within {_STOP_BOUND:.0f} s of kill -9")
        time.sleep(0.05)


def _kill(pid: int) -> None:
    """Kill the process and wait until its last thread has exited, at most _STOP_BOUND seconds.

    Its first thread may already have left its namespaces, so that `process` no longer finds it, while another still
    keeps the engine's socket open. A pidfd becomes readable once no thread is left (pidfd_open(2)); process 1 of a PID
    namespace exits last.
    """
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        select.select([handle], [], [], _STOP_BOUND)
    except ProcessLookupError:
        return
    finally:
        os.close(handle)


def process(name: str) -> int | None:
    """The PID on this machine of process 1 of the node `name`, found by its namespaces; None if the node is down.

    Looked up in /proc, because a PID stored in a file may have been reused by another process.
    """
    try:
        namespace = network.namespace(name).stat()
    except FileNotFoundError:
        return None
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            actual = (directory / "ns/net").stat()
            if (actual.st_ino, actual.st_dev) == (namespace.st_ino, namespace.st_dev) and _is_first(directory):
                return int(directory.name)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it has exited, or belongs to another user
    return None


def _is_first(directory: Path) -> bool:
    """Whether the process is PID 1 of a PID namespace directly below the machine's (proc_pid_status(5), NSpid).

    A container with the node's network is two levels below.
    """
    for line in (directory / "status").read_text().splitlines():
        if line.startswith("NSpid:"):
            return line.split()[2:] == ["1"]
    return False


def shell(node: LabNode, command: list[str]) -> int:
    """Run `command` (a login shell if empty) in `node`, on this terminal; returns its exit code."""
    host.require_root("lab shell")
    pid = process(node.name)
    if pid is None:
        raise OperationError(f"{node.name} is down: start it with ./open-balena.sh lab start {node.name}.")
    enter = ["nsenter", f"--target={pid}", "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd"]
    environment = [
        "env",
        "-i",
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME=/root",
        f"TERM={os.environ.get('TERM', '')}",
    ]
    return subprocess.run([*enter, *environment, *(command or ["bash", "-l"])]).returncode


def cgroup(name: str) -> str:
    """The control group of the containers of the node `name`."""
    return f"/{paths.prefix()}/{name}"


def remove_cgroups() -> None:
    """Delete the parent control group of all nodes."""
    _remove_cgroups(f"/{paths.prefix()}")


def _remove_cgroups(group: str) -> bool:
    """Remove `group` from every hierarchy; False while it is still busy in one of them."""
    mounted = Path("/sys/fs/cgroup")
    for hierarchy in {path.resolve() for path in (mounted, *mounted.iterdir()) if path.is_dir()}:
        for directory, _, _ in os.walk(hierarchy / group.lstrip("/"), topdown=False):
            try:
                Path(directory).rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                return False
    return True


def _last_words(node: LabNode) -> str:
    log = paths.log(node.name)
    return f"{' / '.join(log.read_text(errors='replace').splitlines()[-5:])} (full log: {log})"
