"""What this machine's kernel, which all nodes of the lab share, can do for them."""

import os
from functools import cache

from openbalena.cluster.encryption import state_command
from openbalena.errors import OperationError
from openbalena.lab import host


@cache
def has_esp() -> bool:
    """Whether the kernel takes an ESP state, tried in a network namespace of its own; false where none can be made."""
    # Without root a user namespace gives the capability for a network namespace in it (user_namespaces(7)).
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    try:
        host.run(["unshare", *user, "--net", *state_command("")])
    except (OperationError, OSError):
        return False
    return True
