"""One fake Docker Engine for all unit tests: the real SDK and the real docker command line talk to it.

It listens on a Unix socket and keeps everything in memory: what a swarm has (fake_swarm.py), and volumes, images,
containers and archives of one machine. Its answers are compared with those of a real engine (engine_exchanges.py).
What waits in our code waits on the engine's clock, which stands still unless somebody sleeps: see `patched`.
"""

import io
import json
import re
import shutil
import socket
import sys
import tarfile
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import debian
from fake_swarm import Clock, FakeSwarm, RefusedError, listed

from openbalena.docker.engine import Engine

_API = "1.47"
_UNVERSIONED = re.compile(r"/v1\.\d+(/.*)")


def docker_program() -> str:
    """The docker command line: this machine's, or Debian's."""
    return shutil.which("docker") or str(debian.program("docker-cli", "usr/bin/docker"))


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


class FakeEngine(ThreadingHTTPServer):
    """`volumes` are labels by name, `archives` what is sent of a path, `refused` what everything is refused with.

    `links` are what paths point to; `containers` what `container` added. `made` are the containers that were created,
    as they were asked for, `connected` the networks that any was connected to later, and `written` the files of each
    archive that was put into one; `endings` are how those that
    are started end, and what they print, by the value of any of their labels. `swarm` is the engine's swarm, in which
    it is the first node; without a node there is none. `commands` counts docker command lines: each asks for `_ping`
    first. `says` is what it says otherwise of its swarm. `image_work` are pulls, pushes and new names of images, in
    order. `joins` is the swarm in which it becomes a node if it is told to join, `joined_with` what it was told.
    `left_as` is whether it was a manager or a worker of that swarm when it left.
    """

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        self.swarm = FakeSwarm()
        self.hostname = "node1"
        self.volumes: dict[str, dict[str, str]] = {}
        self.archives: dict[str, bytes] = {}
        self.images: set[str] = set()
        self.digests: dict[str, list[str]] = {}
        self.registry: dict[str, RefusedError | None] = {}
        self.every_image: list[str] = []
        self.image_work: list[str] = []
        self.containers: dict[str, dict[str, Any]] = {}
        self.links: dict[str, str] = {}
        self.made: list[dict[str, Any]] = []
        self.connected: list[str] = []
        self.written: list[dict[str, bytes]] = []
        self.endings: dict[str, tuple[int, list[str]]] = {}
        self.refused = ""
        self.says: dict[str, Any] = {}
        self.joins: FakeSwarm | None = None
        self.joined_with: dict[str, Any] = {}
        self.left_as = ""
        self.commands = 0
        self.guard = threading.RLock()
        self.sending: dict[str, threading.Lock] = {}
        self._path = path
        super().__init__(("", 0), _Answer, bind_and_activate=False)
        self.socket.close()
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(path))
        self.socket.listen(64)

    @property
    def url(self) -> str:
        """What DOCKER_HOST must be."""
        return f"unix://{self._path}"

    @property
    def engine(self) -> Engine:
        """It as our code reaches an engine."""
        return Engine("the fake engine", docker_program(), self.url)

    def container(
        self, name: str, labels: dict[str, str] | None = None, ports: list[dict[str, Any]] | None = None, **state: Any
    ) -> dict[str, Any]:
        """Add a running container; `state` changes what is inspected of its state."""
        began = "2026-01-01T00:00:00Z"
        self.containers[name] = {
            "Id": name,
            "Name": f"/{name}",
            "Labels": labels or {},
            "Ports": ports or [],
            "Config": {"Image": "image", "Tty": False},
            "State": {"Status": "running", "ExitCode": 0, "StartedAt": began, **state},
            "NetworkSettings": {},
            "RestartCount": 0,
            "Created": began,
        }
        self.sending[name] = threading.Lock()
        return self.containers[name]

    def info(self) -> dict[str, Any]:
        """What it says of itself."""
        nodes = list(self.swarm.nodes.values())
        swarm: dict[str, Any] = {"NodeID": "", "LocalNodeState": "inactive", "ControlAvailable": False, "Error": ""}
        if nodes:
            managers = [node for node in nodes if "ManagerStatus" in node]
            swarm |= {"NodeID": nodes[0]["ID"], "NodeAddr": nodes[0]["Status"]["Addr"], "LocalNodeState": "active"}
            swarm |= {"ControlAvailable": nodes[0] in managers, "Nodes": len(nodes), "Managers": len(managers)}
            remote = [{"NodeID": node["ID"], "Addr": node["ManagerStatus"]["Addr"]} for node in managers]
            swarm |= {"RemoteManagers": remote, "Cluster": self.swarm.cluster()}
        return {
            "Name": self.hostname,
            "ServerVersion": "28.5.2",
            "SystemTime": self.swarm.time(),
            "Swarm": {**swarm, **self.says},
            "OSType": "linux",
        }

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client may hang up before its answer is there: the docker command line does so after `_ping`."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Answer(BaseHTTPRequestHandler):
    server: FakeEngine
    # One connection for many requests, each answer in one piece.
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_HEAD(self) -> None:
        self.server.commands += 1
        self._send(200, b"", {"API-Version": _API, "OSType": "linux"})

    def do_GET(self) -> None:
        self._answer(_GET)

    def do_POST(self) -> None:
        self._answer(_POST)

    def do_PUT(self) -> None:
        self._answer(_PUT)

    def do_DELETE(self) -> None:
        self._answer(_DELETE)

    def _answer(self, routes: "list[tuple[str, str]]") -> None:
        parts = urlsplit(self.path)
        path = unquote(match[1] if (match := _UNVERSIONED.fullmatch(parts.path)) else parts.path)
        self.query = parse_qs(parts.query, keep_blank_values=True)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.body: Any = json.loads(body) if body.startswith((b"{", b"[")) else body
        try:
            if self.server.refused and path not in ("/version", "/_ping"):
                raise RefusedError(500, self.server.refused)
            method, arguments = self._route(routes, path)
            if path.endswith("/archive") or (self.command == "DELETE" and path.startswith("/containers")):
                method(*arguments)  # these wait for each other
                return
            with self.server.guard:
                self.server.swarm.advance()
                if self.command != "GET":
                    self.server.swarm.asked.append(f"{self.command} {path}")
                self.server.swarm.refuse(self.command, path)
                method(*arguments)
        except RefusedError as refusal:
            self._json({"message": str(refusal)}, refusal.status)

    def _route(self, routes: "list[tuple[str, str]]", path: str) -> tuple[Any, tuple[str, ...]]:
        for pattern, name in routes:
            if match := re.fullmatch(pattern, path):
                return getattr(self, name), match.groups()
        raise RefusedError(404, f"page not found: {self.command} {path}")

    def version(self) -> None:
        """The newest API it speaks."""
        self._json({"ApiVersion": _API, "MinAPIVersion": "1.24", "Version": "28.5.2", "Os": "linux", "Arch": "amd64"})

    def ping(self) -> None:
        """As the command line asks first."""
        self._send(200, b"OK", {"API-Version": _API, "OSType": "linux"})

    def information(self) -> None:
        """GET /info."""
        self._json(self.server.info())

    def swarm_itself(self) -> None:
        """GET /swarm (Engine API v1.47, SwarmInspect)."""
        tokens = {"Worker": "SWMTKN-1-worker", "Manager": "SWMTKN-1-manager"}
        spec = {"EncryptionConfig": {"AutoLockManagers": False}}
        self._json({**self.server.swarm.cluster(), "Spec": spec, "JoinTokens": tokens})

    def init_swarm(self) -> None:
        """The engine becomes its first node."""
        if self.server.swarm.nodes:
            raise RefusedError(503, 'This node is already part of a swarm. Use "docker swarm leave" to leave it.')
        self.server.swarm.asked_for = self.body
        self._json(self.server.swarm.node(self.server.hostname, "manager")["ID"])

    def join_swarm(self) -> None:
        """The engine becomes a node of the swarm `joins`, with the role of the token."""
        if self.server.joins is None:
            raise RefusedError(503, "Timeout was reached before node joined.")
        self.server.joined_with = self.body
        role = self.body["JoinToken"].rpartition("-")[2]
        made = self.server.joins.node(self.server.hostname, role)
        self.server.says = {"NodeID": made["ID"], "LocalNodeState": "active", "ControlAvailable": role == "manager"}
        self._send(200, b"")

    def leave_swarm(self) -> None:
        """The swarm notices it."""
        nodes = self.server.joins.nodes if self.server.joins else {}
        if node := nodes.get(self.server.says.get("NodeID", "")):
            self.server.left_as = "manager" if "ManagerStatus" in node else "worker"
            node["Status"]["State"] = "down"
        self.server.says = {}
        self._send(200, b"")

    def swarm_objects(self, kind: str) -> None:
        """A list of one kind, filtered."""
        self._json(listed(self.server.swarm, kind, json.loads(self.query.get("filters", ["{}"])[0])))

    def swarm_object(self, kind: str, name: str) -> None:
        """One of them."""
        self._json(self.server.swarm.named(kind, name))

    def create(self, kind: str) -> None:
        """A secret, config or service."""
        made = self.server.swarm.create(kind, self.body)
        self._json({"ID": made, **({"Warnings": None} if kind == "services" else {})}, 201)

    def create_network(self) -> None:
        """An overlay network."""
        self._json({"Id": self.server.swarm.create_network(self.body), "Warning": ""}, 201)

    def update(self, kind: str, name: str) -> None:
        """Another spec, or for a service the one before."""
        if "rollback" in self.query:
            self.server.swarm.roll_back(name)
        else:
            self.server.swarm.update(kind, name, int(self.query["version"][0]), self.body)
        self._json({"Warnings": None}) if kind == "services" else self._send(200, b"")

    def delete(self, kind: str, name: str) -> None:
        """A service's answer differs from the others'."""
        self.server.swarm.remove(kind, name)
        self._send(200 if kind == "services" else 204, b"")

    def logs(self, kind: str, name: str) -> None:
        """The lines of a task, or of a service's tasks, as the attached streams of containers (moby, pkg/stdcopy)."""
        lines = self.server.swarm.log(kind, name)
        task = self.server.swarm.named(kind, name) if kind == "tasks" else {}
        # Of which task a line is (moby, daemon/cluster/services.go, ServiceLogs).
        ids = {"node": task.get("NodeID", ""), "service": task.get("ServiceID", ""), "task": task.get("ID", "")}
        detailed = self.query.get("details", ["0"])[0] in ("1", "true")
        details = ",".join(f"com.docker.swarm.{of}.id={each}" for of, each in ids.items()) + " " if detailed else ""
        frames = [f"2026-11-23T10:00:00.{number:09d}Z {details}{line}\n".encode() for number, line in enumerate(lines)]
        self._send(200, b"".join(b"\1\0\0\0" + len(frame).to_bytes(4, "big") + frame for frame in frames))

    def list_volumes(self) -> None:
        """Those with every label that is asked for."""
        wanted = json.loads(self.query.get("filters", ["{}"])[0]).get("label", [])
        found = [
            {"Name": name, "Labels": labels}
            for name, labels in self.server.volumes.items()
            if all(_has(labels, label) for label in wanted)
        ]
        self._json({"Volumes": found, "Warnings": None})

    def create_volume(self) -> None:
        """One that exists is not changed."""
        labels = self.server.volumes.setdefault(self.body["Name"], self.body.get("Labels") or {})
        self._json({"Name": self.body["Name"], "Labels": labels}, 201)

    def delete_volume(self, name: str) -> None:
        """A volume is in use as long as a container is labelled with it (`volume`)."""
        if name not in self.server.volumes:
            raise RefusedError(404, f"get {name}: no such volume")
        users = [key for key, item in self.server.containers.items() if item["Labels"].get("volume") == name]
        if users:
            raise RefusedError(409, f"remove {name}: volume is in use - [{', '.join(users)}]")
        del self.server.volumes[name]
        self._send(204, b"")

    def image(self, name: str) -> None:
        """Its id."""
        if name not in self.server.images:
            raise RefusedError(404, f"No such image: {name}")
        self._json({"Id": f"id of {name}", "RepoDigests": self.server.digests.get(name, [])})

    def distribution(self, name: str) -> None:
        """What the registry says."""
        if refusal := self.server.registry.get(name, RefusedError(404, f"no registry has {name}")):
            raise refusal
        self._json({"Descriptor": {}, "Platforms": []})

    def create_image(self) -> None:
        """Of an archive, whose content does not matter, or from a registry, which has every image."""
        if "fromImage" in self.query:
            name = _referred(self.query["fromImage"][0], self.query["tag"][0])
            self.server.image_work.append(f"pull {name}")
        else:
            name = f"{self.query['repo'][0]}:{self.query['tag'][0]}"
        self.server.images.add(name)
        self.server.every_image.append(name)
        self._json({"status": "ok"})

    def tag_image(self, name: str) -> None:
        """Another name for it."""
        # Of a name with tag and digest, the digest alone says which image it is (distribution/reference).
        if not {name, re.sub(":[^:/@]+@", "@", name)} & self.server.images:
            raise RefusedError(404, f"No such image: {name}")
        other = _referred(self.query["repo"][0], self.query["tag"][0])
        self.server.image_work.append(f"tag {name} {other}")
        self.server.images.add(other)
        self._send(201, b"")

    def push_image(self, name: str) -> None:
        """To a registry, which takes every image."""
        image = _referred(name, self.query["tag"][0])
        if image not in self.server.images:
            raise RefusedError(404, f"An image does not exist locally with the tag: {name}")
        self.server.image_work.append(f"push {image}")
        self._json({"status": "ok"})

    def delete_image(self, name: str) -> None:
        """A name of an image."""
        self.server.images.remove(name)
        self._json([])

    def list_containers(self) -> None:
        """Those that run and, where asked for, the others."""
        wanted = json.loads(self.query.get("filters", ["{}"])[0]).get("label", [])
        everything = self.query.get("all", ["0"])[0] in ("1", "true", "True")
        self._json([
            {"Id": key, "Names": [item["Name"]], "Labels": item["Labels"], "Ports": item["Ports"]}
            for key, item in self.server.containers.items()
            if (everything or item["State"]["Status"] == "running")
            and all(_has(item["Labels"], label) for label in wanted)
        ])  # fmt: skip

    def container(self, name: str) -> None:
        """What is known of one."""
        if name not in self.server.containers:
            raise RefusedError(404, f"No such container: {name}")
        self._json(self.server.containers[name])

    def create_container(self) -> None:
        """It is not started."""
        if self.body["Image"] not in self.server.images:
            raise RefusedError(404, f"No such image: {self.body['Image']}")
        name = f"made-{len(self.server.sending)}"
        self.server.made.append(self.body)
        self.server.container(name, self.body.get("Labels"), Status="created")
        self._json({"Id": name, "Warnings": []}, 201)

    def put_archive(self, name: str) -> None:
        """Its files are kept."""
        with tarfile.open(fileobj=io.BytesIO(self.body)) as sent:
            files = {item.name: file.read() for item in sent if (file := sent.extractfile(item))}
        self.server.written.append(files)
        place = self.query["path"][0].rstrip("/")
        self.server.archives |= {f"{place}/{name}": archive((name, data)) for name, data in files.items()}
        self._send(200, b"")

    def connect_network(self, name: str) -> None:
        self.server.connected.append(name)
        self._send(200, b"")

    def start_container(self, name: str) -> None:
        """It ends at once."""
        item = self.server.containers[name]
        code, _ = self._ending(name)
        item["State"] = {**item["State"], "Status": "exited", "ExitCode": code}
        self._send(204, b"")

    def container_logs(self, name: str) -> None:
        """What it printed, as an attached stream (moby, pkg/stdcopy)."""
        frames = [f"{line}\n".encode() for line in self._ending(name)[1]]
        self._send(200, b"".join(b"\1\0\0\0" + len(frame).to_bytes(4, "big") + frame for frame in frames))

    def _ending(self, name: str) -> tuple[int, list[str]]:
        labels = self.server.containers[name]["Labels"].values()
        return next((self.server.endings[value] for value in labels if value in self.server.endings), (0, []))

    def delete_container(self, name: str) -> None:
        """Once no archive of it is sent any more, as the Docker Engine does."""
        with self.server.sending[name]:
            self.server.containers.pop(name, None)
        self._send(204, b"")

    def get_archive(self, name: str) -> None:
        """The container is locked as long."""
        path = self.query["path"][0]
        if path not in self.server.archives:
            raise RefusedError(404, f"Could not find the file {path} in container {name}")
        data = self.server.archives[path]
        stat = {"name": path, "size": 0, "linkTarget": self.server.links.get(path, ""), "mtime": "2026-01-01T00:00:00Z"}
        with self.server.sending[name]:
            self._send(200, data, {"X-Docker-Container-Path-Stat": b64encode(json.dumps(stat).encode()).decode()})

    def _json(self, what: Any, status: int = 200) -> None:
        self._send(status, json.dumps(what).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        """Nothing."""

    def address_string(self) -> str:
        """Of a Unix socket there is none."""
        return "local"


_KINDS = "(nodes|services|tasks|secrets|configs|networks)"
_GET = [
    ("/version", "version"),
    ("/_ping", "ping"),
    ("/info", "information"),
    ("/swarm", "swarm_itself"),
    (f"/{_KINDS}", "swarm_objects"),
    ("/(services|tasks)/([^/]+)/logs", "logs"),
    (f"/{_KINDS}/([^/]+)", "swarm_object"),
    ("/volumes", "list_volumes"),
    ("/images/(.+)/json", "image"),
    ("/distribution/(.+)/json", "distribution"),
    ("/containers/json", "list_containers"),
    ("/containers/([^/]+)/json", "container"),
    ("/containers/([^/]+)/archive", "get_archive"),
    ("/containers/([^/]+)/logs", "container_logs"),
]
_PUT = [("/containers/([^/]+)/archive", "put_archive")]
_POST = [
    ("/(secrets|configs|services)/create", "create"),
    ("/networks/create", "create_network"),
    ("/volumes/create", "create_volume"),
    ("/networks/([^/]+)/connect", "connect_network"),
    ("/swarm/init", "init_swarm"),
    ("/swarm/join", "join_swarm"),
    ("/swarm/leave", "leave_swarm"),
    ("/(nodes|services|secrets|configs)/([^/]+)/update", "update"),
    ("/images/create", "create_image"),
    ("/images/(.+)/tag", "tag_image"),
    ("/images/(.+)/push", "push_image"),
    ("/containers/create", "create_container"),
    ("/containers/([^/]+)/start", "start_container"),
]
_DELETE = [
    ("/(services|secrets|configs|networks|nodes)/([^/]+)", "delete"),
    ("/volumes/([^/]+)", "delete_volume"),
    ("/containers/([^/]+)", "delete_container"),
    ("/images/(.+)", "delete_image"),
]


def _referred(name: str, tag: str) -> str:
    """The image, named as users do: without Docker's own registry, with `@` before a digest."""
    short = name.removeprefix("docker.io/").removeprefix("library/")
    return f"{short}{'@' if tag.startswith('sha256:') else ':'}{tag}"


def _has(labels: dict[str, str], label: str) -> bool:
    name, separator, value = label.partition("=")
    return name in labels and (not separator or labels[name] == value)


@contextmanager
def fake_engine(directory: Path) -> Iterator[FakeEngine]:
    """A running one, whose socket is in `directory`."""
    engine = FakeEngine(directory / "engine.sock")
    thread = threading.Thread(target=engine.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True)
    thread.start()
    try:
        yield engine
    finally:
        engine.shutdown()
        thread.join()
        engine.server_close()


@contextmanager
def patched(clock: Clock) -> Iterator[Clock]:
    """Our modules that use the module `time` use `clock`; what is not ours waits as ever."""
    waiting = [module for name, module in sys.modules.items() if name.startswith("openbalena.") and _waits(module)]
    for module in waiting:
        module.time = clock  # type: ignore[attr-defined]
    try:
        yield clock
    finally:
        for module in waiting:
            module.time = time  # type: ignore[attr-defined]


def _waits(module: ModuleType) -> bool:
    return getattr(module, "time", None) is time
