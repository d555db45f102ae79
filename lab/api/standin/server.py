"""HTTP/1.1 on one port: routing and JSON.

Source: open-balena-api 49.0.12. It handles no signals (init.ts, index.js), so SIGTERM terminates it immediately and
aborts running requests; one thread does all the work of a worker, so a slow request delays all others, including /ping.
"""

import base64
import json
import re
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

_LARGEST_BODY = 1 << 20
# The maximum of /stand-in/block, in milliseconds.
_LONGEST_BLOCK = 5000


@dataclass(frozen=True)
class Request:
    """`query` has every value of each parameter; `body` is the parsed JSON object ({} without one)."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: Any
    peer: str
    body: dict[str, Any]
    parameters: dict[str, str]

    @property
    def bearer(self) -> str:
        """The key or JWT, from a Bearer token or the query; "" without one."""
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        return value.strip() if scheme.lower() == "bearer" else self.query.get("apikey", [""])[0]

    @property
    def basic(self) -> tuple[str, str]:
        """User and password of Basic authentication; both "" without it."""
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return "", ""
        try:
            user, _, password = base64.b64decode(value).decode().partition(":")
        except ValueError:
            return "", ""
        return user, password


@dataclass(frozen=True)
class Response:
    """A str body is sent as text, None as no body, anything else as JSON."""

    status: int
    body: Any = None


Route = tuple[str, str, Callable[[Request], Response]]


class Server(ThreadingHTTPServer):
    """Serves `routes` (method, regular expression of the whole path, function)."""

    daemon_threads = True
    request_queue_size = 511  # Node.js's, net.Server.listen
    address_family = socket.AF_INET6
    # All workers listen on the same port; the kernel assigns each connection to one of them, even if it is blocked.
    allow_reuse_port = True

    def __init__(self, port: int, routes: list[Route]) -> None:
        block = ("GET", "/stand-in/block", self._block)
        self.routes = [(method, re.compile(pattern), function) for method, pattern, function in [*routes, block]]
        # Represents the worker's only thread, which each request needs for a moment.
        self.loop = threading.Lock()
        super().__init__(("::", port), _Handler)

    def _block(self, request: Request) -> Response:
        """?ms=N: block the worker's thread for that long, as compiling a model blocks the real one's."""
        milliseconds = min(int(request.query.get("ms", ["1000"])[0]), _LONGEST_BLOCK)
        with self.loop:
            time.sleep(milliseconds / 1000)
        return Response(200, "OK")

    def answer(self, request: Request) -> Response:
        """The response of the first matching route; an exception becomes a 500 and a traceback in the log."""
        known = False
        with self.loop:
            pass
        for method, pattern, function in self.routes:
            match = pattern.fullmatch(request.path)
            if match and method == request.method.replace("HEAD", "GET"):
                try:
                    return function(Request(**{**request.__dict__, "parameters": match.groupdict()}))
                except Exception:
                    traceback.print_exc()
                    return Response(500, "Internal Server Error")
            known = known or match is not None
        return Response(405 if known else 404, "Method Not Allowed" if known else "Not Found")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "open-balena-api-stand-in"
    timeout = 60
    # Sends head and body together: a second segment would wait 40 ms for a delayed acknowledgement.
    wbufsize = -1
    server: Server

    def _serve(self) -> None:
        url = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        if length > _LARGEST_BODY:
            self.close_connection = True
            self._send(Response(413, "Payload Too Large"))
            return
        raw = self.rfile.read(length)
        try:
            body = json.loads(raw) if raw else {}
        except ValueError:
            body = None
        if not isinstance(body, dict):
            self._send(Response(400, "the body is not a JSON object"))
            return
        # A dual-stack socket shows IPv4 peers as ::ffff:a.b.c.d (RFC 4291, section 2.5.5.2).
        peer = self.client_address[0].removeprefix("::ffff:")
        query = parse_qs(url.query, keep_blank_values=True)
        self._send(self.server.answer(Request(self.command, url.path, query, self.headers, peer, body, {})))

    do_GET = do_HEAD = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815 (names of http.server)

    def _send(self, response: Response) -> None:
        text = response.body if isinstance(response.body, str) else json.dumps(response.body)
        data = b"" if response.body is None else text.encode()
        self.send_response(response.status)
        kind = "text/plain" if isinstance(response.body, str) else "application/json"
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        """One line per request, except health checks, without the query, which may contain an API key."""
        path = urlsplit(self.path).path
        if path != "/ping":
            print(f"{self.client_address[0].removeprefix('::ffff:')} {self.command} {path} {int(code)}", flush=True)

    def log_message(self, message: str, *values: Any) -> None:
        print(message % values, file=sys.stderr, flush=True)
