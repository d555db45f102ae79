"""Serves port 80 with the keys S3_MINIO_ACCESS_KEY and S3_MINIO_SECRET_KEY and the buckets of BUCKETS."""

import os
import signal
import sys
import threading
from pathlib import Path

from standin.server import Server
from standin.signature import Keys
from standin.store import Store


def main() -> None:
    names = ("S3_MINIO_ACCESS_KEY", "S3_MINIO_SECRET_KEY")
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        sys.exit(f"s3: not set: {', '.join(missing)}")
    store = Store(Path("/export"))
    for bucket in filter(None, os.environ.get("BUCKETS", "").split(";")):
        store.make_bucket(bucket)
    server = Server(store, Keys(*(os.environ[name] for name in names)))
    # shutdown waits for serve_forever, which this very thread runs; requests under way are finished.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.1)
    server.server_close()


main()
