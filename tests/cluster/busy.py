"""Holds a file open in the directory of a starting container's secrets, so that the Engine cannot make it read-only.

Run as `python busy.py ROOT …`: each ROOT leads to a node's files (/proc/PID/root). It does so once, and ends. The
kernel refuses a read-only remount with EBUSY while a file there is open for writing (mount(2)); on busy machines a
process that the Engine starts at that moment does the same (moby issue 48783).
"""

import sys
import time
from pathlib import Path

places = [Path(root) / "var/lib/docker/containers" for root in sys.argv[1:]]
known = {entry for place in places for entry in place.iterdir()}
print("watching", flush=True)
while True:
    for entry in [entry for place in places for entry in place.iterdir() if entry not in known]:
        secrets = entry / "mounts/secrets"
        try:
            # Before its own file system is there, a file is in nobody's way.
            if secrets.stat().st_dev == entry.stat().st_dev:
                continue
            with (secrets / "held").open("w"):
                time.sleep(1)
        except FileNotFoundError:  # no secrets yet
            continue
        except OSError:  # read-only already
            known.add(entry)
        else:
            sys.exit()
