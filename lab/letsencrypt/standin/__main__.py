"""Start pebble, its DNS server and the providers' APIs; exit when one of them does.

LIFETIME_DAYS is the lifetime of certificates (90, as Let's Encrypt's), DNS_API_TOKEN the token that the APIs accept.

80     /ca.pem: the CAs to trust, as real clients trust those of Let's Encrypt and its servers
443    api.cloudflare.com and api.gandi.net
14000  pebble: the ACME server, its directory at /dir
"""

import http.server
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

from . import tls
from .dns import Dns
from .providers import Providers

_STATE = Path("/run/letsencrypt")
_MANAGEMENT = 15000
# Seconds until pebble answers.
_BOUND = 30
_ISSUER = f"https://localhost:{_MANAGEMENT}/roots/0"


class Authorities(http.server.BaseHTTPRequestHandler):
    """Serves the file with the CAs."""

    content = b""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/ca.pem" else 404)
        self.end_headers()
        self.wfile.write(self.content if self.path == "/ca.pem" else b"not found\n")

    def log_message(self, *_arguments: object) -> None:
        """No log: only health checks and cert-manager come here."""


def pebble() -> list[subprocess.Popen[bytes]]:
    settings = {
        "listenAddress": "0.0.0.0:14000",
        "managementListenAddress": f"127.0.0.1:{_MANAGEMENT}",
        "certificate": str(_STATE / "server.pem"),
        "privateKey": str(_STATE / "server.key"),
        "httpPort": 5002,
        "tlsPort": 5001,
        # Seconds.
        "certificateValidityPeriod": int(os.environ.get("LIFETIME_DAYS", "90")) * 86400,
    }
    (_STATE / "pebble.json").write_text(json.dumps({"pebble": settings}))
    dns = [
        "pebble-challtestsrv",
        "-http01",
        "",
        "-https01",
        "",
        "-tlsalpn01",
        "",
        "-doh",
        "",
        "-dns01",
        "127.0.0.1:8053",
    ]
    acme = ["pebble", "-config", str(_STATE / "pebble.json"), "-dnsserver", "127.0.0.1:8053"]
    # By default it waits up to 15 s before each challenge, like a slow CA, and rejects one of twenty valid nonces.
    quick = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}
    return [subprocess.Popen(dns), subprocess.Popen(acme, env={**os.environ, **quick})]


def issuer(trust: ssl.SSLContext) -> bytes:
    """pebble's root, which it generates at each start."""
    deadline = time.monotonic() + _BOUND
    while True:
        try:
            with urllib.request.urlopen(_ISSUER, timeout=5, context=trust) as answer:  # noqa: S310 (a constant)
                return bytes(answer.read())
        except OSError as error:
            if time.monotonic() > deadline:
                sys.exit(f"letsencrypt: pebble did not answer within {_BOUND} s: {error}")
            time.sleep(0.2)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    _STATE.mkdir(exist_ok=True)
    authority = tls.make(_STATE, ["letsencrypt", "localhost", "api.cloudflare.com", "api.gandi.net"])
    children = pebble()
    Authorities.content = authority + issuer(ssl.create_default_context(cadata=authority.decode()))
    plain = http.server.ThreadingHTTPServer(("", 80), Authorities)
    Providers.dns = Dns("http://127.0.0.1:8055")
    Providers.token = os.environ.get("DNS_API_TOKEN", "openbalena-lab-dns-token")
    secure = http.server.ThreadingHTTPServer(("", 443), Providers)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(_STATE / "server.pem", _STATE / "server.key")
    secure.socket = context.wrap_socket(secure.socket, server_side=True)
    for server in (plain, secure):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    while all(child.poll() is None for child in children):
        time.sleep(1)
    sys.exit("letsencrypt: pebble or its DNS server exited")


main()
