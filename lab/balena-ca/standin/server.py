"""cfssl's API and the OCSP responder, over plain HTTP; HAProxy restricts access from outside the network."""

import base64
import http.server
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.x509 import ocsp

from .authority import Authority

_MAX_BODY = 1 << 20


# RFC 6960, 4.2.1, as DER: status 1, malformedRequest, and 6, unauthorized.
_MALFORMED, _UNAUTHORIZED = bytes.fromhex("30030a0101"), bytes.fromhex("30030a0106")


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _body(self) -> bytes:
        return self.rfile.read(min(int(self.headers.get("Content-Length") or 0), _MAX_BODY))

    def log_message(self, *_arguments: object) -> None:
        """No log, because of a health check every second."""


class Cfssl(_Handler):
    """github.com/cloudflare/cfssl/tree/master/doc/api: info, crl and newcert."""

    authority: Authority

    def do_HEAD(self) -> None:
        self._answer(200, b"", "text/plain")

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path != "/api/v1/cfssl/crl":
            self._answer(404, b"not found\n", "text/plain")
            return
        hours = parse_qs(url.query).get("expiry", ["168h"])[0].removesuffix("h")
        if not hours.isdigit() or not 0 < int(hours) <= 8760:
            self._answer(400, b"expiry must be in hours, such as 168h\n", "text/plain")
            return
        self._result(base64.b64encode(self.authority.revocation_list(timedelta(hours=int(hours)))).decode())

    def do_POST(self) -> None:
        try:
            body = json.loads(self._body() or b"{}")
            if self.path == "/api/v1/cfssl/info":
                certificate = self.authority.server.public_bytes(serialization.Encoding.PEM).decode()
                self._result({"certificate": certificate, "usages": ["server auth"], "expiry": "8760h"})
            elif self.path == "/api/v1/cfssl/newcert":
                request = body["request"]
                certificate, key = self.authority.issue(request["CN"], request.get("hosts") or [])
                self._result({"certificate": certificate, "private_key": key})
            else:
                self._answer(404, b"not found\n", "text/plain")
        except (ValueError, KeyError, TypeError) as error:
            self._answer(400, f"invalid request: {error}\n".encode(), "text/plain")

    def _result(self, result: Any) -> None:
        answer = {"success": True, "result": result, "errors": [], "messages": []}
        self._answer(200, json.dumps(answer).encode(), "application/json")


class Ocsp(_Handler):
    """RFC 6960, appendix A, as in cfssl (ocsp/responder.go): `unauthorized` for an unknown serial number.

    The issuer in the request is ignored, and so is a nonce.
    """

    answers: Mapping[int, bytes]

    def do_GET(self) -> None:
        self._status(unquote(self.path).lstrip("/"))

    def do_POST(self) -> None:
        self._status(base64.b64encode(self._body()).decode())

    def _status(self, request: str) -> None:
        try:
            serial = ocsp.load_der_ocsp_request(base64.b64decode(request)).serial_number
        except ValueError:
            self._answer(400, _MALFORMED, "application/ocsp-response")
            return
        self._answer(200, self.answers.get(serial, _UNAUTHORIZED), "application/ocsp-response")


def serve(port: int, handler: type[_Handler], **holds: Any) -> None:
    """Serve until the process exits; `holds` are the handler's attributes."""
    bound = type(handler.__name__, (handler,), holds)
    http.server.ThreadingHTTPServer(("", port), bound).serve_forever()
