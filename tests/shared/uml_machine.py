"""One machine with a kernel of its own, Debian's user-mode-linux, which has ip_vs, an NFS client and an NFS server: the
kernel that the tests run on need not have them. It is an ordinary process, and all it has is gone with it.

A tap interface links it to this machine. The engine in it answers at DOCKER_HOST; `docker exec` is the way to its
shell.
"""

from __future__ import annotations

import ipaddress
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import debian

from openbalena.base.errors import OperationError
from openbalena.docker.engine import Engine
from openbalena.lab import host, lifecycle, network, paths, wrappers
from openbalena.lab.roots import build_root

PACKAGES = (*lifecycle.PACKAGES, "nfs-kernel-server", "kmod")
# bookworm's runs with the C library of Debian 12 and of everything later.
KERNEL_SUITE = "bookworm"
MEMORY = "2G"  # a file that takes what is used of it
DISK = 8 * 2**30  # bytes; sparse
# Seconds until the engine answers: 20 are usual on a quiet machine.
BOOT = 180
_PORT = 2375
_HANDS = "hands"
# The disk is made of the Debian root and what the machine adds to it: a real file system, since NFS exports no other.
_RUN = """\
set -e
mount -t overlay overlay -o "ro,lowerdir=$2/added:$1" "$2/root"
mkfs.ext4 -q -d "$2/root" "$2/disk"
umount "$2/root"
exec "$3" "mem=$4" "ubda=$2/disk" root=/dev/ubda rw init=/uml-init panic=1 "vec0:transport=tap,ifname=$5" \\
    con=null con0=null,fd:1 "uml_dir=$2/" umid=uml "address=$6"
"""


@dataclass(frozen=True)
class Machine:
    """The booted machine: `address` is where its ports answer, `bin` has the docker program and its Compose plugin."""

    address: str
    bin: Path

    @property
    def environment(self) -> dict[str, str]:
        """What makes a command of ours, and docker, act on this machine."""
        return {
            "DOCKER_HOST": f"tcp://{self.address}:{_PORT}",
            "DOCKER_CONFIG": str(self.bin),
            "PATH": f"{self.bin}:{os.environ['PATH']}",
        }

    @property
    def engine(self) -> Engine:
        return Engine("uml", str(self.bin / "docker"), self.environment["DOCKER_HOST"], environment=self.environment)

    def load(self, root: Path, image: str) -> None:
        """Give the engine an image of the directory `root`, which has a shell and chroot."""
        archive = subprocess.run(["tar", "-C", root, "-c", "."], check=True, capture_output=True, timeout=60).stdout
        command = self.engine.command("import", "--change", 'CMD ["sh"]', "-", image)
        environment = self.engine.process_environment()
        subprocess.run(command, env=environment, input=archive, check=True, capture_output=True, timeout=120)

    def shell(self, script: str) -> str:
        """What a script prints that runs as root in the machine itself. Raises OperationError where it fails."""
        return self.engine.docker("exec", _HANDS, "chroot", "/machine", "/bin/sh", "-ec", script)

    def reach_in(self, image: str) -> None:
        """Start the container through which `shell` works."""
        see_all = ("--privileged", "--net", "host", "--pid", "host", "--volume", "/:/machine")
        self.engine.docker("run", "--detach", "--name", _HANDS, *see_all, image, "sleep", "100000")


@contextmanager
def booted(directory: Path) -> Iterator[Machine]:
    """Boot the machine with its files in `directory`; at the end it is killed, whatever happened.

    Raises OperationError where it does not come up within BOOT seconds, with the end of what it printed.
    """
    root = build_root("uml", lifecycle.SUITE, PACKAGES)
    kernel = debian.program("user-mode-linux", "usr/bin/linux.uml", KERNEL_SUITE)
    for name in ("added/usr/lib/modules", "root"):
        (directory / name).mkdir(parents=True)
    modules = next((kernel.parents[1] / "lib/uml/modules").iterdir())
    subprocess.run(["cp", "-a", modules, directory / "added/usr/lib/modules/"], check=True, timeout=60)
    (directory / "added/uml-init").write_bytes((Path(__file__).parents[1] / "uml" / "init").read_bytes())
    (directory / "added/uml-init").chmod(0o755)
    with (directory / "disk").open("wb") as disk:
        disk.truncate(DISK)
    wrappers.wrap(root, directory / "bin")
    with _link() as (interface, address):
        machine = Machine(str(address.ip), directory / "bin")
        arguments = [root, directory, kernel, MEMORY, interface, str(address)]
        log = directory / "log"
        with (
            log.open("w") as output,
            subprocess.Popen(
                host.isolated(["sh", "-c", _RUN, "uml", *map(str, arguments)]),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            ) as process,
        ):
            try:
                _wait(machine, process, log)
                yield machine
            finally:
                process.kill()  # and with it, by its PID namespace, all others


def _wait(machine: Machine, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + BOOT
    while True:
        try:
            machine.engine.docker("version", timeout=20)
            return
        except OperationError as error:
            if process.poll() is not None or time.monotonic() > end:
                said = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
                raise OperationError(f"the user-mode kernel did not come up in {BOOT} s: {error}\n{said}") from error
        time.sleep(0.5)


@contextmanager
def _link() -> Iterator[tuple[str, ipaddress.IPv4Interface]]:
    """A tap interface with an address of the first free network, and the address for the other end."""
    name = f"{paths.prefix()}-uml"
    subnet = ipaddress.IPv4Network(network.free_subnet())
    host.run_program(["ip", "link", "delete", name], check=False)  # of a run that was killed
    host.run_program(["ip", "tuntap", "add", "dev", name, "mode", "tap"])
    try:
        host.run_program(["ip", "address", "add", f"{subnet[1]}/{subnet.prefixlen}", "dev", name])
        host.run_program(["ip", "link", "set", name, "up"])
        yield name, ipaddress.IPv4Interface(f"{subnet[2]}/{subnet.prefixlen}")
    finally:
        host.run_program(["ip", "link", "delete", name])
