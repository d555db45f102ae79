"""The api's stand-in where it needs no database: its environment, workers, connections, contracts and image store."""

import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from s3_client import ACCESS, SECRET, Client

from lab.api.standin import contracts, image_store, workers
from lab.api.standin.pool import Pool
from lab.api.standin.settings import ImageStore
from lab.internet import internet
from openbalena.base.project import ROOT

ENVFILE = ROOT / "lab" / "common" / "envfile"
RENDER = ROOT / "lab" / "api" / "config" / "render"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A=plain text # no comment  \n", "plain text # no comment"),
        ("A='$x \\n'\n", "$x \\n"),
        ('A="a\\"b\\$c"\n', 'a"b$c'),
        ("A=a\\ b\\$c\n", "a b$c"),
        ("A=it's\n", "it's"),
        ("# A=no\n;A=no\nA=first\n A = last \n", "last"),
        ("A=set\n1B=no name\nnothing\nA=\n", ""),
        ("A=no end", "no end"),
    ],
)
def test_environment_file_is_read_as_systemd_reads_it(text: str, value: str, tmp_path: Path) -> None:
    (tmp_path / "env").write_text(text)
    shown = subprocess.check_output([ENVFILE, tmp_path / "env", "printenv", "A"], text=True, timeout=60)
    assert shown == f"{value}\n"


@pytest.mark.parametrize(("mode", "workers_"), [("true", ""), ("false", "1"), ("", "1")])
def test_template_lets_few_names_pass(mode: str, workers_: str) -> None:
    given = {
        "PRODUCTION_MODE": mode,
        "NUM_WORKERS": "4",
        "DB_POOL_SIZE": "5",
        "RATE_LIMIT_FACTOR": "9",
        "HOST": "api.x",
    }
    given |= {"DB_USER": "u", "DB_PASSWORD": "p@:/", "DB_HOST": "h", "DB_PORT": "1", "TOKEN_AUTH_BUILDER_TOKEN": "t"}
    shown = subprocess.check_output([RENDER], text=True, timeout=60, env={"PATH": os.environ["PATH"], **given})
    found = dict(line.split("=", 1) for line in shown.splitlines())
    assert (found["NUM_WORKERS"], found["DB_POOL_SIZE"], found["API_HOST"]) == (workers_, "60", "api.x")
    assert found["DATABASE_URL"] == "postgres://u:p@:/@h:1/resin"
    assert found["TOKEN_AUTH_BUILDER_TOKEN"] == "'t'"
    assert "RATE_LIMIT_FACTOR" not in found


@pytest.mark.parametrize(("said", "expected"), [("", 8), ("0", 8), ("x", 8), ("2", 2), ("3x", 3)])
def test_one_worker_for_each_cpu_unless_a_number_is_said(said: str, expected: int) -> None:
    assert workers.count({"NUM_WORKERS": said, "STAND_IN_CPUS": "8"}) == expected
    assert workers.count({}) == os.cpu_count()


def test_primary_replaces_its_workers_and_takes_them_with_it(tmp_path: Path) -> None:
    script = "import os, sys, time; from standin import workers; from pathlib import Path\n"
    script += (
        f"def start():\n Path('{tmp_path}', str(os.getpid())).touch()\n time.sleep(1000)\nworkers.run(2, start, 1)"
    )
    with subprocess.Popen(
        [sys.executable, "-u", "-c", script], cwd=ROOT / "lab" / "api", stdout=subprocess.PIPE, text=True
    ) as primary:
        assert primary.stdout
        assert [primary.stdout.readline() for _ in range(3)][0] == "Forking 2 workers\n"
        first = _appeared(tmp_path, 2)[0]
        os.kill(first, 9)
        assert primary.stdout.readline().endswith(" died, replacing it\n")
        everyone = _appeared(tmp_path, 3)
        primary.terminate()
        assert primary.wait(60) == -15
    end = time.monotonic() + 60
    while any(Path(f"/proc/{process}").exists() for process in everyone):
        assert time.monotonic() < end, "workers outlive their primary"
        time.sleep(0.1)


def _appeared(directory: Path, number: int) -> list[int]:
    end = time.monotonic() + 60
    while len(found := list(directory.iterdir())) < number:
        assert time.monotonic() < end
        time.sleep(0.05)
    return [int(path.name) for path in found]


class Connection:
    """What the pool uses of psycopg2's."""

    def __init__(self) -> None:
        self.closed = 0
        self.lost = False

    def close(self) -> None:
        self.closed = 1

    def cursor(self) -> Self:
        if self.lost:
            raise OSError
        return self

    def execute(self, statement: str) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None: ...


def test_pool_is_bounded_and_who_waits_gets_what_is_given_back() -> None:
    pool = Pool(Connection, size=2, wait=0.05)
    with pool.connection() as first:
        with pool.connection(), pytest.raises(TimeoutError, match="none of 2"), pool.connection():
            pass
        got = []
        patient = Pool(Connection, size=1, wait=60)
        with patient.connection() as held:
            waiting = threading.Thread(target=lambda: got.append(patient.connection().__enter__()))
            waiting.start()
            assert got == []
        waiting.join(60)
        assert got == [held]
    with pool.connection() as again:
        assert again is first


def test_pool_closes_what_is_idle_and_replaces_what_the_server_closed() -> None:
    pool = Pool(Connection, size=2, idle=0)
    with pool.connection() as first:
        pass
    time.sleep(0.01)
    pool.close_idle()
    assert first.closed
    with pool.connection() as second:
        assert second is not first
    second.lost = True
    with pool.connection() as third:
        assert third is not second
    assert second.closed


def test_contracts_are_unpacked_and_what_lies_there_is_read_without_them(tmp_path: Path) -> None:
    class Github(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(internet.archive())

    with HTTPServer(("127.0.0.1", 0), Github) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert contracts.fetch(f"http://127.0.0.1:{server.server_port}/tarball/", tmp_path)
        server.shutdown()
    assert list(contracts.device_types(tmp_path)) == [("generic-amd64", "Generic x86_64")]
    assert not contracts.fetch("http://127.0.0.1:1/tarball/", tmp_path)
    own = tmp_path / "own" / "contracts" / "hw.device-type" / "mine" / "contract.json"
    own.parent.mkdir(parents=True)
    own.write_text('{"slug": "mine", "name": "Mine"}')
    assert ("mine", "Mine") in list(contracts.device_types(tmp_path))


def test_image_store_has_to_list_and_to_know_a_device_type(s3: Client) -> None:
    images = ImageStore(f"http://{s3.host}", "bucket", "images", True, ACCESS, SECRET)
    image_store.check(images, set())
    with pytest.raises(image_store.NoDeviceTypeError):
        image_store.check(images, {"generic-amd64"})
    for key, content in internet.objects().items():
        assert s3.request("PUT", f"/bucket/{key}", content).status_code == 200
    image_store.check(images, {"generic-amd64", "unknown"})
    with pytest.raises(image_store.NoDeviceTypeError):
        image_store.check(images, {"unknown"})
    unsigned = ImageStore(images.endpoint, "bucket", "images", True, "", "")
    with pytest.raises(OSError, match="403"):
        image_store.check(unsigned, {"generic-amd64"})
    image_store.check(unsigned, set())
    gone = ImageStore("http://127.0.0.1:1", "bucket", "images", True, ACCESS, SECRET)
    with pytest.raises(OSError, match="refused"):
        image_store.check(gone, {"generic-amd64"})
