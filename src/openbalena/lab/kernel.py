"""Features of this machine's kernel, which all nodes of the lab share."""

import os
from functools import cache

from openbalena.base.errors import OperationError
from openbalena.lab import host
from openbalena.swarm.encryption import state_command


@cache
def has_esp() -> bool:
    """Whether the kernel supports ESP, tried in a temporary network namespace; False if none can be created."""
    # Without root, a user namespace provides the capability to create a network namespace (user_namespaces(7)).
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    try:
        host.run_program(["unshare", *user, "--net", *state_command("")])
    except (OperationError, OSError):
        return False
    return True
