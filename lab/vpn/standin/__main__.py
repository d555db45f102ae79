"""Starts OpenVPN and what belongs to it; ends when either ends, and drains when it is told to stop."""

import base64
import contextlib
import http.server
import logging
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
import urllib.error
from pathlib import Path
from typing import NoReturn

from standin import tunnel
from standin.api import Api
from standin.clients import Clients

STATE = Path("/run/vpn")
_FILES = {
    "server.key": "VPN_OPENVPN_SERVER_KEY",
    "server.crt": "VPN_OPENVPN_SERVER_CRT",
    "ca.crt": "VPN_OPENVPN_CA_CRT",
    "dh.pem": "VPN_OPENVPN_SERVER_DH",
}
_REQUIRED = ("API_HOST", "VPN_HOST", "VPN_PORT", "VPN_SERVICE_API_KEY", "VPN_GUEST_API_KEY", *_FILES.values())
# Seconds: for the first registration with the api (a whole cluster may be starting), and between heartbeats.
_REGISTER, _HEARTBEAT = 300, 15
_SIOCGIFADDR = 0x8915  # ioctl(2) number of netdevice(7)


class Ping(http.server.BaseHTTPRequestHandler):
    """/ping on port 80, well once the api knows this task and until it drains."""

    well = True

    def handle(self) -> None:
        # HAProxy resets the connection of a health check as soon as it has seen the status.
        with contextlib.suppress(ConnectionError):
            super().handle()

    def do_GET(self) -> None:
        well = self.path == "/ping" and Ping.well
        content = b"OK" if well else b"not here"
        self.send_response(200 if well else 503 if self.path == "/ping" else 404)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        """Health checks come twice a second."""


def address(interface: str) -> str:
    """The IPv4 address of `interface`: what other replicas and the api reach this very task by."""
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, struct.pack("256s", interface.encode()[:15]))
    return socket.inet_ntoa(answer[20:24])


def register(api: Api, own: str) -> int:
    """Retried while the api is not there; a refused key is final."""
    deadline = time.monotonic() + _REGISTER
    while True:
        try:
            return api.register(own)
        except urllib.error.HTTPError as error:
            if error.code in (401, 403):
                sys.exit("vpn: the api refuses VPN_SERVICE_API_KEY: it is not the api's own")
            reason = error
        except OSError as error:
            reason = error
        if time.monotonic() > deadline:
            sys.exit(f"vpn: no registration with the api within {_REGISTER} s: {reason}")
        logging.info("waiting for the api: %s", reason)
        time.sleep(2)


def write_files() -> None:
    STATE.mkdir(mode=0o700, exist_ok=True)
    for name, variable in _FILES.items():
        path = STATE / name
        path.touch(mode=0o600)
        path.write_bytes(base64.b64decode(os.environ[variable]))
    tun = Path("/dev/net/tun")
    if not tun.exists():
        tun.parent.mkdir(exist_ok=True)
        os.mknod(tun, stat.S_IFCHR | 0o600, os.makedev(10, 200))  # the kernel's Documentation/networking/tuntap.rst


def start() -> list[subprocess.Popen[bytes]]:
    # Without the tokens, which neither needs.
    names = ("PATH", "VPN_HAPROXY_USEPROXYPROTOCOL")
    environment = {name: os.environ[name] for name in names if name in os.environ}
    return [
        subprocess.Popen(["openvpn", "--config", "/etc/vpn/openvpn.conf"], env=environment),
        subprocess.Popen(["haproxy", "-db", "-f", "/etc/vpn/haproxy.cfg"], env=environment),
    ]


def drain(clients: Clients, processes: list[subprocess.Popen[bytes]], bound: float) -> NoReturn:
    """New devices go elsewhere, since the check fails; those here may stay for `bound` seconds."""
    Ping.well = False
    deadline = time.monotonic() + bound
    logging.info("draining %d devices for at most %.0f s", len(clients.addresses), bound)
    while clients.addresses and time.monotonic() < deadline:
        time.sleep(0.2)
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait(10)
    sys.exit(0)


def main() -> None:
    logging.basicConfig(format="vpn: %(message)s", level=logging.INFO, stream=sys.stdout)
    missing = [name for name in _REQUIRED if not os.environ.get(name)]
    if missing:
        sys.exit(f"vpn: not set: {', '.join(missing)}")
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set() if started else sys.exit(0))
    started: list[subprocess.Popen[bytes]] = []
    write_files()
    api = Api(os.environ["API_HOST"], os.environ["VPN_SERVICE_API_KEY"])
    instance = register(api, address(os.environ.get("VPN_SERVICE_REGISTER_INTERFACE", "eth0")))
    clients = Clients(api, instance)
    clients.serve()
    started += start()
    for server in (http.server.ThreadingHTTPServer(("", 80), Ping), tunnel.Server(api, clients)):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    beat = time.monotonic()
    while not stopping.wait(0.5):
        if any(process.poll() is not None for process in started):
            sys.exit("vpn: OpenVPN or its HAProxy ended")
        if time.monotonic() - beat > _HEARTBEAT:
            beat = time.monotonic()
            try:
                api.heartbeat(instance)
            except OSError as error:
                logging.error("heartbeat: %s", error)
    drain(clients, started, float(os.environ.get("DEFAULT_SIGTERM_TIMEOUT", "120")))


main()
