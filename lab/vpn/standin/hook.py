"""OpenVPN runs this when a client logs in, connects or disconnects; it forwards the event to the program.

OpenVPN gives scripts a restricted environment, so they ask the program over a socket instead of contacting the api.
"""

import json
import os
import socket
import sys
from pathlib import Path

SOCKET = "/run/vpn/hook.sock"
# Seconds; OpenVPN serves no other client in the meantime.
_PATIENCE = 10


def main() -> int:
    environment = dict(os.environ)
    event = {"type": environment["script_type"], "uuid": environment.get("common_name", "")}
    if event["type"] == "user-pass-verify":
        event["uuid"], event["key"] = Path(sys.argv[1]).read_text().splitlines()[:2]
    else:
        event |= {"address": environment["ifconfig_pool_remote_ip"], "device": environment["dev"]}
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(_PATIENCE)
        stream.connect(SOCKET)
        stream.sendall(json.dumps(event).encode() + b"\n")
        return 0 if stream.recv(16) == b"yes" else 1


if __name__ == "__main__":
    sys.exit(main())
