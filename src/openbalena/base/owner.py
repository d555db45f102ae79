"""Who runs this process, as locks, releases and records of commands name it."""

import getpass
import socket


def current_owner() -> str:
    """`user@host`."""
    return f"{getpass.getuser()}@{socket.gethostname()}"
