"""An engine with volumes, images and one running container, for the real SDK: what reading a volume, finding an image
and asking what a service has in its volume need.

It listens on a Unix socket. It keeps a container locked while it sends an archive of it, as the Docker Engine does.
"""

import io
import json
import socket
import tarfile
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit


def archive(*members: tuple[str, bytes | str]) -> bytes:
    """A tar archive of name and content; a text is what a symbolic link points to, `=…` what a hard link does."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type = tarfile.LNKTYPE if content.startswith("=") else tarfile.SYMTYPE
                member.linkname = content.removeprefix("=")
                made.addfile(member)
            else:
                member.size = len(content)
                made.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


_RUNNING = {
    "Id": "running",
    "Name": "/one-haproxy-1",
    "Config": {"Image": "image"},
    "State": {"Status": "running", "ExitCode": 0, "StartedAt": "2026-01-01T00:00:00Z"},
    "NetworkSettings": {},
    "RestartCount": 0,
    "Created": "2026-01-01T00:00:00Z",
}


class SmallEngine(ThreadingHTTPServer):
    """`volumes` are labels by name, `archives` what is sent of a path, `refused` what everything is refused with.

    `links` are what paths point to; `running` is the service of the Compose project whose container there is.
    """

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        self.volumes: dict[str, dict[str, str]] = {}
        self.archives: dict[str, bytes] = {}
        self.images: set[str] = set()
        self.every_image: list[str] = []
        self.containers: dict[str, threading.Lock] = {}
        self.links: dict[str, str] = {}
        self.running = ""
        self.refused = ""
        self._path = path
        super().__init__(("", 0), _Answer, bind_and_activate=False)
        self.socket.close()
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(path))
        self.socket.listen(16)

    @property
    def url(self) -> str:
        """What DOCKER_HOST has to be."""
        return f"unix://{self._path}"


class _Answer(BaseHTTPRequestHandler):
    server: SmallEngine

    def do_GET(self) -> None:
        path, query = self._path()
        if path == "/version":
            self._json({"ApiVersion": "1.47", "MinAPIVersion": "1.24", "Version": "27.0.0"})
        elif self.server.refused:
            self._json({"message": self.server.refused}, 500)
        elif path == "/info":
            self._json({"Name": "small", "Swarm": {"LocalNodeState": "inactive"}})
        elif path == "/volumes":
            wanted = json.loads(query.get("filters", ["{}"])[0]).get("label", [])
            wanted = wanted if isinstance(wanted, list) else list(wanted)
            listed = [
                {"Name": name, "Labels": labels}
                for name, labels in self.server.volumes.items()
                if all(_has(labels, label) for label in wanted)
            ]
            self._json({"Volumes": listed})
        elif path.startswith("/images/") and path.endswith("/json"):
            image = path.removeprefix("/images/").removesuffix("/json")
            there = image in self.server.images
            self._json(
                {"Id": f"id of {image}"} if there else {"message": f"No such image: {image}"}, 200 if there else 404
            )
        elif path == "/containers/json":
            labels = {"com.docker.compose.service": self.server.running}
            self._json([{"Id": "running", "Labels": labels}] if self.server.running else [])
        elif path == "/containers/running/json":
            self._json(_RUNNING)
        elif path.endswith("/archive"):
            self._archive(path.split("/")[2], query["path"][0])
        else:
            self._json({"message": f"no such page {path}"}, 404)

    def do_POST(self) -> None:
        path, query = self._path()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if path == "/images/create":
            image = f"{query['repo'][0]}:{query['tag'][0]}"
            self.server.images.add(image)
            self.server.every_image.append(image)
            self._json({"status": "ok"})
        elif path == "/containers/create":
            image = json.loads(body)["Image"]
            if image not in self.server.images:
                self._json({"message": f"No such image: {image}"}, 404)
                return
            name = f"c{len(self.server.containers)}"
            self.server.containers[name] = threading.Lock()
            self._json({"Id": name}, 201)
        else:
            self._json({"message": f"no such page {path}"}, 404)

    def do_DELETE(self) -> None:
        path, _ = self._path()
        kind, name = path.split("/", 2)[1:]
        if kind == "containers":
            with self.server.containers[name]:
                pass
        else:
            self.server.images.remove(name)
        self._json([], 200)

    def _archive(self, container: str, path: str) -> None:
        if path not in self.server.archives:
            self._json({"message": "no such file"}, 404)
            return
        data = self.server.archives[path]
        stat = {"name": path, "size": 0, "linkTarget": self.server.links.get(path, ""), "mtime": "2026-01-01T00:00:00Z"}
        with self.server.containers.setdefault(container, threading.Lock()):
            self.send_response(200)
            self.send_header("X-Docker-Container-Path-Stat", b64encode(json.dumps(stat).encode()).decode())
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    def _path(self) -> tuple[str, dict[str, list[str]]]:
        parts = urlsplit(self.path)
        path = parts.path
        if path.startswith("/v1."):
            path = "/" + path.split("/", 2)[2]
        return path, parse_qs(parts.query)

    def _json(self, what: Any, status: int = 200) -> None:
        data = json.dumps(what).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        """Nothing."""

    def address_string(self) -> str:
        """Of a Unix socket there is none."""
        return "local"


def _has(labels: dict[str, str], label: str) -> bool:
    name, separator, value = label.partition("=")
    return name in labels and (not separator or labels[name] == value)


@contextmanager
def small_engine(directory: Path) -> Iterator[SmallEngine]:
    """A running one, whose socket is in `directory`."""
    engine = SmallEngine(directory / "engine.sock")
    thread = threading.Thread(target=engine.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield engine
    finally:
        engine.shutdown()
        thread.join()
        engine.server_close()
