"""Run by OpenVPN when a client logs in, connects and disconnects; passes each on to the program, which asks the api.

OpenVPN gives scripts an environment of its own, so the program is asked over a socket instead of the api from here.
"""

import json
import os
import socket
import sys
from pathlib import Path

SOCKET = "/run/vpn/hook.sock"
# Seconds; OpenVPN serves nobody else meanwhile.
_PATIENCE = 10


def main() -> int:
    said = dict(os.environ)
    event = {"type": said["script_type"], "uuid": said.get("common_name", "")}
    if event["type"] == "user-pass-verify":
        event["uuid"], event["key"] = Path(sys.argv[1]).read_text().splitlines()[:2]
    else:
        event |= {"address": said["ifconfig_pool_remote_ip"], "device": said["dev"]}
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(_PATIENCE)
        stream.connect(SOCKET)
        stream.sendall(json.dumps(event).encode() + b"\n")
        return 0 if stream.recv(16) == b"yes" else 1


if __name__ == "__main__":
    sys.exit(main())
