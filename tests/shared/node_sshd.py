"""A real sshd that is reached at a lab node's address, and whose sessions run on that node.

The server is this machine's: Debian's package, unpacked. It listens in the node's network namespace, and its forced
command enters the node's other namespaces, so a command over ssh finds the node's programs and its Docker Engine.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import debian
from waiting import eventually

from openbalena.lab import network
from openbalena.lab.state import LabNode

_PORT = 22
_SUITE = "bookworm"
_CONFIG = """\
Port {port}
HostKey {directory}/host
AuthorizedKeysFile {directory}/user.pub
PasswordAuthentication no
StrictModes no
UsePAM no
PermitRootLogin yes
PermitUserRC no
PidFile none
ForceCommand {directory}/session
"""
# The node's first process is looked for each time, as the node may have been restarted. Its NSpid has two numbers, a
# container's in the node's network three (proc_pid_status(5)).
_SESSION = """\
#!/bin/sh
echo "$SSH_ORIGINAL_COMMAND" >>{directory}/commands
for process in /proc/[0-9]*; do
    if [ "$process/ns/net" -ef /proc/self/ns/net ] && grep -qP '^NSpid:\\t\\d+\\t1$' "$process/status"; then
        exec nsenter --target "${{process#/proc/}}" --mount --uts --ipc --net --pid --root --wd env -i \\
            PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \\
            sh -c "$SSH_ORIGINAL_COMMAND"
    fi
done
echo "the node is down" >&2
exit 1
"""
# sshd needs the user `sshd` and /run/sshd, which a machine without the package lacks: it gets both in a mount namespace
# of its own.
_START = """\
set -e
mount --bind "$1/passwd" /etc/passwd
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/sshd
exec "$2" -D -e -f "$1/config"
"""


@contextmanager
def sshd(on: LabNode, directory: Path) -> Iterator[str]:
    """Run the server in `directory`, an empty one; yields the PATH with which `ssh root@ADDRESS` gets in.

    It begins with an `ssh` that uses the server's keys. The file `commands` has every command that was run on the node.
    Raises OSError where Debian's archive cannot be reached.
    """
    program = debian.program("openssh-server", "usr/sbin/sshd", _SUITE)
    library = debian.program("libwrap0", "usr/lib/x86_64-linux-gnu/libwrap.so.0", _SUITE)
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / key], check=True, timeout=60)
    (directory / "config").write_text(_CONFIG.format(port=_PORT, directory=directory))
    (directory / "passwd").write_text(Path("/etc/passwd").read_text() + "sshd:x:65533:65534::/run/sshd:/bin/false\n")
    _executable(directory / "session", _SESSION.format(directory=directory))
    kind, key_text, *_ = (directory / "host.pub").read_text().split()
    (directory / "known").write_text(f"{on.address} {kind} {key_text}\n")
    options = f"-F none -i {directory}/user -o UserKnownHostsFile={directory}/known -o IdentitiesOnly=yes"
    (directory / "bin").mkdir()
    _executable(directory / "bin" / "ssh", f'#!/bin/sh\nexec /usr/bin/ssh {options} "$@"\n')
    enter = ["nsenter", f"--net={network.namespace(on.name)}", "unshare", "--mount"]
    log = directory / "log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [*enter, "sh", "-c", _START, "sshd", directory, program],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "LD_LIBRARY_PATH": str(library.parent)},
        ) as server,
    ):
        try:
            eventually("sshd listens", lambda: server.poll() is not None or "listening on" in log.read_text())
            assert server.poll() is None, log.read_text()
            yield f"{directory}/bin:{os.environ['PATH']}"
        finally:
            server.terminate()


def _executable(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
