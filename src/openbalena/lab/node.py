"""One node: a Docker Engine as process 1 of its own namespaces, in a Debian root of its own.

One kill -9 of process 1 ends containerd, every shim and every container of the node, and its mounts with them.
"""

import os
import select
import signal
import subprocess
import time
from pathlib import Path

from openbalena.errors import OperationError
from openbalena.files import write_atomic
from openbalena.lab import capabilities, host, network, paths
from openbalena.lab.endpoint import accepts
from openbalena.lab.state import Lab, Node

_START_BOUND = 90.0  # seconds until an engine answers; 2 s are usual
_STOP_BOUND = 30.0  # seconds until the kernel has taken a killed node down; under 1 s is usual

# The overlay's upper layer and /var/lib/docker lie on the machine's file system and outlive the engine. /sys is bound,
# not mounted anew: a fresh one would lack the control groups. runc needs pivot_root; a chroot is not enough.
# Nothing answers on 127.0.0.1, on the node or in a container: a name that Docker does not know fails at once, and not
# after the timeouts of the public name servers that Docker falls back to. The socket's group is root: `docker` of the
# node's root has a number that may be any group's on this machine.
_ENTER = """\
set -e
lower=$1 own=$2 run=$3 name=$4 parent=$5 pretend=$6
hostname "$name"
mkdir -p "$own/upper" "$own/work" "$own/root" "$own/docker"
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


def start(node: Node, lab: Lab) -> None:
    """Start the engine of `node` unless it runs; returns before it answers: see wait_ready."""
    network.plug(node)
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


def socket_directory(node: Node) -> Path:
    """The directory of the socket of `node`, made, below one that only its owner may enter."""
    directory = node.socket.parent
    directory.mkdir(parents=True, exist_ok=True)
    directory.parent.chmod(0o700)
    return directory


def _make_up_for_capabilities(own: Path) -> str:
    """Put our runc before the root's where the machine withholds capabilities; returns what the shell has to do."""
    names = capabilities.missing()
    if not names:
        return ""
    directory = own / "upper/usr/local/sbin"
    directory.mkdir(parents=True, exist_ok=True)
    write_atomic(directory / "runc", capabilities.runc_without(names), mode=0o755)
    return capabilities.PRETEND


def wait_ready(node: Node) -> None:
    """Wait until the engine of `node` answers. Raises OperationError with its last words when it does not."""
    deadline = time.monotonic() + _START_BOUND
    grace = time.monotonic() + 2.0  # the process appears a moment after setsid has returned
    while not accepts(node.socket):
        if process(node.name) is None and time.monotonic() > grace:
            raise OperationError(f"The engine of {node.name} ended: {_last_words(node)}")
        if time.monotonic() > deadline:
            raise OperationError(
                f"The engine of {node.name} did not answer in {_START_BOUND:.0f} s: {_last_words(node)}"
            )
        time.sleep(0.05)


def stop(name: str) -> None:
    """Kill every process of the node `name` and delete its control groups, which outlive them."""
    deadline = time.monotonic() + _STOP_BOUND
    pid = process(name)
    if pid is not None:
        _kill(pid)
    while process(name) is not None or not _remove_cgroups(cgroup(name)):
        if time.monotonic() > deadline:
            raise OperationError(f"The processes of {name} did not end within {_STOP_BOUND:.0f} s of kill -9.")
        time.sleep(0.05)


def _kill(pid: int) -> None:
    """Kill the process and wait until its last thread has ended, at most _STOP_BOUND seconds.

    Its first thread may leave its namespaces, and so be found no longer, while another still holds the engine's socket
    open. A pidfd is readable once there is no thread left (pidfd_open(2)); process 1 of a PID namespace ends last.
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
    """The process on this machine that is process 1 of the node `name`, found by its namespaces; None if down.

    Read from /proc and not from a file of ours: a number in a file may belong to another process by now.
    """
    try:
        wanted = network.namespace(name).stat()
    except FileNotFoundError:
        return None
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            found = (directory / "ns/net").stat()
            if (found.st_ino, found.st_dev) == (wanted.st_ino, wanted.st_dev) and _is_first(directory):
                return int(directory.name)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it ended meanwhile, or is none of ours
    return None


def _is_first(directory: Path) -> bool:
    """Whether the process is number 1 of a PID namespace directly below the machine's (proc_pid_status(5), NSpid).

    A container on the node's own network is two levels below.
    """
    for line in (directory / "status").read_text().splitlines():
        if line.startswith("NSpid:"):
            return line.split()[2:] == ["1"]
    return False


def shell(node: Node, command: list[str]) -> int:
    """Run `command` (a login shell without one) in `node`, with this terminal; returns its exit code."""
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
    """The control group that holds the containers of the node `name`."""
    return f"/{paths.prefix()}/{name}"


def remove_cgroups() -> None:
    """Delete the control group that held those of all nodes."""
    _remove_cgroups(f"/{paths.prefix()}")


def _remove_cgroups(group: str) -> bool:
    """Remove `group` in every hierarchy; False while one of them is still busy."""
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


def _last_words(node: Node) -> str:
    log = paths.log(node.name)
    return f"{' / '.join(log.read_text(errors='replace').splitlines()[-5:])} (the whole log is {log})"
