"""Who runs this process, as locks, releases and records of commands name it."""

import getpass
import os
import socket


def current_owner() -> str:
    """`user@host`; for root by sudo, the user who called it (sudo(8), SUDO_USER): otherwise everybody would be root."""
    user = getpass.getuser()
    return f"{os.environ.get('SUDO_USER', user) if user == 'root' else user}@{socket.gethostname()}"
