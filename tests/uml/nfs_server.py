"""The NFS server of the booted machine, and what lies on it."""

from uml_machine import Machine

EXPORT = "/srv/export"


def serve(machine: Machine, threads: int = 4) -> None:
    """Start the server, or stop it with no threads. Clients of a server that ran before have 10 s to come back."""
    machine.shell(f"rpc.nfsd --no-nfs-version 3 --grace-time 10 --lease-time 10 {threads}")


def export(machine: Machine, options: str, client: str = "*") -> None:
    """Let the server export EXPORT, and nothing else."""
    machine.shell(f"exportfs -ua; exportfs -o {options},no_subtree_check '{client}:{EXPORT}'")


def starts(machine: Machine) -> list[str]:
    """The lines that store wrote, as the server has them: one for each start."""
    return machine.shell(f"cat {EXPORT}/store-data/starts").splitlines()
