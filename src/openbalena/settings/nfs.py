"""The NFS settings as options of a volume."""

# The value of NFS_HOST if there is no server.
INVALID = "nfs.invalid"
# nfs(5): `hard` waits for an unavailable server instead of losing writes; 4.1 is the first version with sessions, by
# which a write that is retransmitted after a lost reply happens once (RFC 8881, 2.10).
_OPTIONS = "nfsvers=4.1,rw,hard,timeo=600,retrans=2"


def driver_options(host: str, port: str, path: str) -> dict[str, str]:
    """The options of Docker's `local` driver for the directory `path` that `host` exports (nfs(5))."""
    return {"type": "nfs", "o": f"addr={host},port={port},{_OPTIONS}", "device": f":{path}"}
