"""The lab's S3 server, started for one test."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from s3_client import ACCESS, SECRET, Client

from openbalena.base.project import ROOT

_START = """
import sys
from pathlib import Path
from standin.server import Server
from standin.signature import Keys
from standin.store import Store
store = Store(Path(sys.argv[1]))
store.make_bucket("bucket")
server = Server(store, Keys(sys.argv[2], sys.argv[3]), 0)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[Client]:
    command = [sys.executable, "-c", _START, str(tmp_path), ACCESS, SECRET]
    with subprocess.Popen(command, cwd=ROOT / "lab/s3", stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        yield Client(int(server.stdout.readline()), tmp_path)
        server.kill()
