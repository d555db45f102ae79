"""The HTTP CONNECT tunnel on port 3128: to a device connected to this task, or to the VPN task that has it.

`CONNECT <uuid>.<anything>:<port>` with the API key or session as the password of Proxy-Authorization.
"""

import base64
import logging
import re
import selectors
import socket
import socketserver
import urllib.error

from .api import Api
from .clients import Clients

PORT = 3128
_TARGET = re.compile(rb"CONNECT ([0-9a-f]{32}|[0-9a-f]{62})\.[a-z0-9.-]+:(\d{1,5}) HTTP/1\.[01]\r\n")
_CREDENTIALS = re.compile(rb"^proxy-authorization: *basic +([a-z0-9+/=]+)\r$", re.IGNORECASE | re.MULTILINE)
_MAX_HEAD = 8192
# Seconds to connect, and to receive the request's head.
_PATIENCE = 10


class Server(socketserver.ThreadingTCPServer):
    """Serves until the process exits."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, api: Api, clients: Clients) -> None:
        super().__init__(("", PORT), _Handler)
        self.api = api
        self.clients = clients


class _Handler(socketserver.BaseRequestHandler):
    server: Server

    def handle(self) -> None:
        self.request.settimeout(_PATIENCE)
        head = b""
        while b"\r\n\r\n" not in head:
            chunk = self.request.recv(_MAX_HEAD)
            if not chunk or len(head) > _MAX_HEAD:
                return
            head += chunk
        try:
            upstream, greeting = self._open(head)
        except (OSError, urllib.error.URLError) as error:
            logging.error("tunnel: %s", error)
            self.request.sendall(b"HTTP/1.0 502 Bad Gateway\r\n\r\n")
            return
        if upstream is None:
            self.request.sendall(greeting)
            return
        with upstream:
            if greeting:
                self.request.sendall(greeting)
            self.request.settimeout(None)
            upstream.settimeout(None)
            _relay(self.request, upstream)

    def _open(self, head: bytes) -> tuple[socket.socket | None, bytes]:
        """The connection to relay to and the response to send first; without a connection, an error response."""
        target, credentials = _TARGET.match(head), _CREDENTIALS.search(head)
        if not target:
            return None, b"HTTP/1.0 400 Bad Request\r\n\r\n"
        try:
            password = base64.b64decode(credentials[1]).decode().partition(":")[2] if credentials else ""
            task = self.server.api.task_of(target[1].decode(), password) if password else None
        except urllib.error.HTTPError as error:
            if error.code != 401:
                raise
            password, task = "", None
        except ValueError:
            password, task = "", None
        if not password:
            return None, b"HTTP/1.0 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n"
        here = self.server.clients.connected.get(target[1].decode())
        if here:
            upstream = socket.create_connection((here[1], int(target[2])), _PATIENCE)
            return upstream, b"HTTP/1.0 200 Connection established\r\n\r\n"
        if not task or task == self.request.getsockname()[0]:
            return None, b"HTTP/1.0 404 Not Found\r\n\r\n"
        # The other task sends the response to the client.
        upstream = socket.create_connection((task, PORT), _PATIENCE)
        upstream.sendall(head)
        return upstream, b""


def _relay(one: socket.socket, other: socket.socket) -> None:
    """Pass bytes both ways until either end closes."""
    with selectors.DefaultSelector() as selector:
        selector.register(one, selectors.EVENT_READ, (one, other))
        selector.register(other, selectors.EVENT_READ, (other, one))
        while True:
            for key, _ in selector.select():
                sender, receiver = key.data
                data = sender.recv(65536)
                if not data:
                    return
                receiver.sendall(data)
