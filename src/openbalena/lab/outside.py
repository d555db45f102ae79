"""The one way out of the lab: a proxy on the machine, for as long as images are pulled from a registry.

Nodes have no route to the outside, and the machine's firewall and routes stay as they are; so the engines of a lab
that was started for real images are told of an HTTPS proxy at the machine's end of the lab's network, and it is there
only while `way_out` lasts. It takes CONNECT (RFC 9110, section 9.3.6) to port 443, resolves the name here, and sees
nothing of what passes.
"""

import selectors
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from openbalena.errors import OperationError

PORT = 3128
_TARGET_PORT = 443
_HEAD_BYTES = 8192
_CONNECT_BOUND = 20.0  # seconds, for the client's request and for the connection to the registry
_IDLE_BOUND = 300.0  # seconds without a byte in either direction
_CHUNK = 65536


def environment(gateway: str) -> dict[str, str]:
    """What an engine has to have in its environment to use the proxy; private addresses are reached directly."""
    direct = "localhost,127.0.0.0/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,198.18.0.0/15"
    return {"HTTPS_PROXY": f"http://{gateway}:{PORT}", "NO_PROXY": direct}


@contextmanager
def way_out(gateway: str) -> Iterator[None]:
    """Serve the proxy at `gateway`, an address of this machine in the lab.

    Raises OperationError where its port is taken.
    """
    try:
        server = _Server((gateway, PORT), _Tunnel)
    except OSError as error:
        raise OperationError(f"The proxy for pulling images cannot listen on {gateway}:{PORT}: {error}") from error
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False


class _Tunnel(socketserver.StreamRequestHandler):
    timeout = _CONNECT_BOUND

    def handle(self) -> None:
        """Answer one CONNECT and pass bytes both ways until one side closes."""
        try:
            host = target(self._head())
            if host is None:
                self.wfile.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")
                return
            with socket.create_connection((host, _TARGET_PORT), timeout=_CONNECT_BOUND) as outside:
                self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                _relay(self.connection, outside)
        except OSError:
            return  # the engine sees its connection closed, and says so

    def _head(self) -> bytes:
        """The request up to its empty line; the engine sends nothing after it before it has the answer."""
        head = b""
        while not head.endswith(b"\r\n\r\n") and len(head) < _HEAD_BYTES:
            line = self.rfile.readline(_HEAD_BYTES)
            if not line:
                break
            head += line
        return head


def target(head: bytes) -> str | None:
    """The host that a CONNECT request names; None for any other request and for other ports than 443."""
    words = head.split(b"\r\n", 1)[0].split()
    if len(words) != 3 or words[0] != b"CONNECT" or not head.endswith(b"\r\n\r\n"):
        return None
    host, _, port = words[1].decode("ascii", "replace").rpartition(":")
    return host.strip("[]") if host and port == str(_TARGET_PORT) else None


def _relay(first: socket.socket, second: socket.socket) -> None:
    """Pass bytes between the two until both directions have ended, or nothing came for _IDLE_BOUND seconds."""
    with selectors.DefaultSelector() as selector:
        for source, sink in ((first, second), (second, first)):
            source.settimeout(_IDLE_BOUND)
            selector.register(source, selectors.EVENT_READ, (source, sink))
        while selector.get_map():
            ready = selector.select(_IDLE_BOUND)
            if not ready:
                return
            for key, _ in ready:
                source, sink = key.data
                data = source.recv(_CHUNK)
                if data:
                    sink.sendall(data)
                else:
                    sink.shutdown(socket.SHUT_WR)
                    selector.unregister(source)
