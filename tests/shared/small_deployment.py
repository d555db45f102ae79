"""A deployment small enough for one process: a TLS server on port 443 of a loopback address, answering by host name.

It has two replicas of api and registry, taken in turn, and each may be given secrets of its own: that is the fault the
checks are there to find.
"""

import base64
import contextlib
import hashlib
import hmac
import itertools
import json
import os
import re
import secrets
import socket
import ssl
import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

TLD = "open.test"
PASSWORD = "right"
BUILDER = "builder-token"
# A name outside of TLD, for the certificate: the server is asked there as a store of somebody else's.
# The loopback addresses are this process's alone, so that two runs of the tests can go side by side.
_LOOPBACK = f"127.{os.getpid() >> 8 & 127}.{os.getpid() & 255}"
STORE = f"{_LOOPBACK}.77"
NOBODY, SILENT = f"{_LOOPBACK}.78", f"{_LOOPBACK}.79"


@dataclass
class Deployment:
    """What the server does, for tests to change; `uploads` and `blobs` are the store that all replicas share.

    `store` is the URL that the registry sends clients to, where it does. `syncs` is how many times the api is asked
    for its device types before it has some.
    """

    session_secrets: tuple[str, str] = ("one", "one")
    upload_secrets: tuple[str, str] = ("one", "one")
    databases: tuple[int, int] = (0, 0)
    guarded: bool = True
    asks_in_clear: bool = False
    trusts_everybody: bool = False
    says_client: bool = True
    client: str = ""
    builder: str = BUILDER
    vpn_reports: bool = True
    vpn_answers: bool = True
    tunnel_answer: str = "HTTP/1.0 407 Proxy Authentication Required"
    store: str = ""
    syncs: int = 0
    revocation_list: bytes = field(default_factory=lambda: revocation_list(timedelta(days=7)))
    requests: int = 0
    applications: dict[int, list[str]] = field(default_factory=lambda: {0: [], 1: []})
    uploads: dict[str, bytes] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    turns: "itertools.cycle[int]" = field(default_factory=lambda: itertools.cycle((0, 1)))


class Handler(BaseHTTPRequestHandler):
    """Answers for api, registry2, ca and stats."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    deployment: Deployment

    def _serve(self) -> None:
        self.deployment.requests += 1
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        name = self.headers["Host"].partition(".")[0]
        answer = getattr(self, f"_{name}")(url.path, parse_qs(url.query), body, next(self.deployment.turns))
        status, content, headers = (*answer, {})[:3]
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for key, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(data)

    def do_CONNECT(self) -> None:  # noqa: N802 (a name of http.server)
        self.close_connection = True
        self.wfile.write(f"{self.deployment.tunnel_answer}\r\n\r\n".encode())

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _serve  # noqa: N815 (names of http.server)

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def _api(self, path: str, query: dict[str, list[str]], body: bytes, replica: int) -> tuple[Any, ...]:
        secret = self.deployment.session_secrets[replica]
        bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if path == "/ping":
            return 200, b"OK"
        if path == "/login_":
            right = json.loads(body)["password"] == PASSWORD
            return (200, f"session-{secret}".encode()) if right else (401, b"Unauthorized")
        if path == "/user/v1/whoami":
            return (200, {}) if bearer == f"session-{secret}" else (401, b"Unauthorized")
        if path == "/auth/v1/token":
            given = base64.b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode()
            if given.partition(":")[2] != self.deployment.builder:
                return 401, b"Unauthorized"
            return 200, {"token": "for-" + query["scope"][0].split(":")[1]}
        if path == "/stand-in/client" and self.deployment.says_client:
            forged = self.headers.get("X-Forwarded-For")
            seen = (
                forged
                if forged and self.deployment.trusts_everybody
                else self.deployment.client or self.client_address[0]
            )
            return 200, {"client": seen, "task": "x"}
        if path == "/v7/device_type":
            self.deployment.syncs -= 1
            return 200, {"d": [{"id": 1}] if self.deployment.syncs < 0 else []}
        if path == "/v7/organization":
            return 200, {"d": [{"id": 1}]}
        rows = self.deployment.applications[self.deployment.databases[replica]]
        if path == "/v7/application" and self.command == "POST":
            rows.append(json.loads(body)["app_name"])
            return 201, {"id": len(rows)}
        if path == "/v7/application":
            wanted = re.search("'(.*)'", unquote(query["$filter"][0]))
            return 200, {"d": [{"id": rows.index(wanted[1]) + 1}] if wanted and wanted[1] in rows else []}
        if path.endswith("/provisioning"):
            return 200, b"provisioning-key"
        if path == "/device/register":
            return (201, {}) if bearer == "provisioning-key" else (401, b"Unauthorized")
        if path == "/v7/device":
            return 200, {"d": [{"is_connected_to_vpn": self.deployment.vpn_reports}]}
        return 404, b"Not Found"

    def _registry2(self, path: str, query: dict[str, list[str]], body: bytes, replica: int) -> tuple[Any, ...]:
        repository = path.removeprefix("/v2/").partition("/blobs")[0].partition("/manifests")[0]
        if self.headers.get("Authorization") != f"Bearer for-{repository}":
            challenge = f'Bearer realm="https://api.{TLD}/auth/v1/token"'
            return 401, b"", {"WWW-Authenticate": challenge}
        secret, store = self.deployment.upload_secrets[replica].encode(), self.deployment
        if "/uploads/" in path:
            upload = path.rpartition("/")[2] or secrets.token_hex(8)
            state = hmac.digest(secret, upload.encode(), "sha256").hex()
            if self.command != "POST" and query["_state"][0] != state:
                return 404, {"errors": [{"code": "BLOB_UPLOAD_INVALID"}]}
            store.uploads[upload] = store.uploads.get(upload, b"") + body
            if self.command == "PUT":
                store.blobs[query["digest"][0]] = store.uploads[upload]
                return 201, b""
            location = f"https://registry2.{TLD}/v2/{repository}/blobs/uploads/{upload}?_state={state}"
            return 202, b"", {"Location": location}
        reference = path.rpartition("/")[2]
        if self.command == "PUT":
            store.blobs[reference] = store.blobs[f"sha256:{hashlib.sha256(body).hexdigest()}"] = body
            return 201, b""
        if store.store and "/blobs/" in path:
            return 307, b"", {"Location": f"{store.store}/{reference}?X-Amz-Signature=lets-in"}
        return (200, store.blobs[reference]) if reference in store.blobs else (404, b"")

    def _127(self, path: str, query: dict[str, list[str]], *_: object) -> tuple[Any, ...]:
        """A store that is asked under its address."""
        signed = query.get("X-Amz-Signature") == ["lets-in"]
        return (200, self.deployment.blobs[path.rpartition("/")[2]]) if signed else (403, b"")

    def _ca(self, path: str, *_: object) -> tuple[Any, ...]:
        if path == "/crl.der":
            return 200, self.deployment.revocation_list
        if not isinstance(self.server, Secure) and not self.deployment.asks_in_clear:
            return 403, b""
        return (200, b"") if path.endswith("/crl") or not self.deployment.guarded else (401, b"")

    def _stats(self, *_: object) -> tuple[Any, ...]:
        if not isinstance(self.server, Secure) and not self.deployment.asks_in_clear:
            return 403, b""
        return (401, b"") if self.deployment.guarded else (200, b"")


class Secure(ThreadingHTTPServer):
    """TLS, and OpenVPN's first answer to whatever else comes."""

    context: ssl.SSLContext
    deployment: Deployment

    def finish_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: Any) -> None:
        assert isinstance(request, socket.socket)  # the other is a datagram
        with contextlib.suppress(OSError):
            if request.recv(1, socket.MSG_PEEK) == b"\x16":
                with self.context.wrap_socket(request, server_side=True) as secure:
                    super().finish_request(secure, client_address)
            elif self.deployment.vpn_answers:
                size = int.from_bytes(request.recv(2))
                session = request.recv(size)[1:9]
                request.sendall(b"\0\x1a" + bytes([8 << 3]) + secrets.token_bytes(8) + b"\1" + bytes(4) + session)


def serve(deployment: Deployment, address: str, directory: Path) -> Generator[str, None, None]:
    """Serve `deployment` at `address`:443 (and at 80, without TLS); yields the PEM of its CA."""
    authority, chain = certificates(directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    handler = type("Bound", (Handler,), {"deployment": deployment})
    secure = Secure((address, 443), handler)
    secure.context, secure.deployment = context, deployment
    servers = [secure, ThreadingHTTPServer((address, 80), handler)]
    for server in servers:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield authority
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


def revocation_list(lifetime: timedelta) -> bytes:
    """A list (DER) with nothing on it, made eight days ago, which ends in `lifetime`."""
    made = datetime.now(UTC) - timedelta(days=8)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])
    builder = x509.CertificateRevocationListBuilder().issuer_name(name)
    builder = builder.last_update(made).next_update(datetime.now(UTC) + lifetime)
    signed = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.DER)


def certificates(directory: Path) -> tuple[str, Path]:
    """A CA's PEM, and a file with a certificate of it for *.TLD and the key."""
    now = datetime.now(UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("test CA", f"*.{TLD}")]
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    authority = _builder(names[0], names[0], keys[0], now).add_extension(x509.BasicConstraints(True, None), True)
    identifier = x509.SubjectKeyIdentifier.from_public_key(keys[0].public_key())
    authority = authority.add_extension(usage, True).add_extension(identifier, False)
    alternatives = x509.SubjectAlternativeName([x509.DNSName(f"*.{TLD}"), x509.IPAddress(IPv4Address(STORE))])
    server = _builder(names[1], names[0], keys[1], now).add_extension(alternatives, False)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(keys[0].public_key())
    server = server.add_extension(issuer, False)
    pem = [made.sign(keys[0], hashes.SHA256()).public_bytes(serialization.Encoding.PEM) for made in (authority, server)]
    key = keys[1].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain = directory / "chain.pem"
    chain.write_bytes(pem[1] + key)
    return pem[0].decode(), chain


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=30))
    )
