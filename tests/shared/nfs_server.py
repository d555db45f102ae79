"""The NFS server of the booted machine, and what lies on it."""

from uml_machine import Machine

EXPORT = "/srv/export"
# Clients of a server that ran before have 10 s to come back.
_SERVE = "rpc.nfsd --no-nfs-version 3 --grace-time 10 --lease-time 10"


def serve(machine: Machine, threads: int = 4) -> None:
    """Start the server, or stop it with no threads."""
    machine.shell(f"{_SERVE} {threads}")


def begin(machine: Machine) -> None:
    """Start the server with an empty EXPORT, exported as it should be."""
    machine.shell(f"{_SERVE} 4; rm -rf {EXPORT}; mkdir -p {EXPORT}; {_only('rw,no_root_squash')}")


def export(machine: Machine, options: str, client: str = "*") -> None:
    """Let the server export EXPORT, and nothing else."""
    machine.shell(_only(options, client))


def starts(machine: Machine) -> list[str]:
    """The lines that store wrote, as the server has them: one for each start."""
    return machine.shell(f"cd {EXPORT}/store-data; [ ! -e starts ] || cat starts").splitlines()


def _only(options: str, client: str = "*") -> str:
    return f"exportfs -ua; exportfs -o {options},no_subtree_check '{client}:{EXPORT}'"
