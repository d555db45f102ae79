"""Serve port 80 with the keys MINIO_ROOT_USER and MINIO_ROOT_PASSWORD and the buckets in the argument.

Like MinIO, it finishes running requests when it is stopped, and rejects short keys with the same message.
"""

import os
import signal
import sys
import threading
from pathlib import Path

from .server import Server
from .signature import Keys
from .store import Store

# docs.min.io: environment variables of the root user.
_SHORTEST_USER, _SHORTEST_PASSWORD = 3, 8


def main(buckets: str) -> None:
    keys = Keys(os.environ.get("MINIO_ROOT_USER", ""), os.environ.get("MINIO_ROOT_PASSWORD", ""))
    if len(keys.access) < _SHORTEST_USER or len(keys.secret) < _SHORTEST_PASSWORD:
        sys.exit(
            f"s3: Invalid credentials: MINIO_ROOT_USER length should be at least {_SHORTEST_USER}, "
            f"and MINIO_ROOT_PASSWORD length at least {_SHORTEST_PASSWORD} characters"
        )
    store = Store(Path("/export"))
    for bucket in filter(None, buckets.split(";")):
        store.make_bucket(bucket)
    server = Server(store, keys)
    # In a thread, because shutdown waits for serve_forever, which runs in this one; running requests are finished.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.1)
    server.server_close()


main(sys.argv[1])
