"""The APIs of two DNS providers for ACME clients: https://developers.cloudflare.com/api, https://api.gandi.net/docs.

Any domain with two or more labels is a zone here. A wrong token is rejected with the provider's error message.
"""

import http.server
import json
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .dns import Dns

_GANDI = re.compile(r"/v5/livedns/domains/([\w.-]+)/records/([\w.-]+)/TXT")
_CLOUDFLARE = re.compile(r"/client/v4/zones/([\w.-]+)/dns_records(?:/(\w+))?")
_MAX_BODY = 1 << 16


class Providers(http.server.BaseHTTPRequestHandler):
    """Both APIs, since their paths do not overlap."""

    protocol_version = "HTTP/1.1"
    dns: Dns
    token: str

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_DELETE(self) -> None:
        self._handle()

    def log_message(self, *_arguments: object) -> None:
        """No log: pebble's log shows the results."""

    def _handle(self) -> None:
        url = urlsplit(self.path)
        length = min(int(self.headers.get("Content-Length") or 0), _MAX_BODY)
        body = json.loads(self.rfile.read(length) or b"{}")
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        known = self.headers.get("Authorization") == f"Bearer {self.token}"
        if gandi := _GANDI.fullmatch(url.path):
            self._gandi(f"{gandi[2]}.{gandi[1]}", body, known=known)
        elif not known:
            self._cloudflare(403, errors=[{"code": 9109, "message": "Invalid access token"}])
        elif url.path == "/client/v4/zones":
            name = query.get("name", "")
            self._cloudflare(200, [{"id": name, "name": name}] if "." in name.strip("_") and name[0] != "_" else [])
        elif found := _CLOUDFLARE.fullmatch(url.path):
            self._record(found[2], query, body)
        else:
            self._cloudflare(404, errors=[{"code": 7003, "message": "Could not route to the request"}])

    def _record(self, identity: str | None, query: dict[str, str], body: dict[str, Any]) -> None:
        if self.command == "POST":
            self._cloudflare(200, {"id": self.dns.add(body["name"], body["content"])})
        elif self.command == "DELETE" and identity in self.dns.records:
            self.dns.remove(identity)
            self._cloudflare(200, {"id": identity})
        elif self.command == "GET":
            wanted = (query.get("name", ""), query.get("content", ""))
            there = [key for key, (name, value) in self.dns.records.items() if (name, value.strip('"')) == wanted]
            self._cloudflare(200, [{"id": key} for key in there])
        else:
            self._cloudflare(404, errors=[{"code": 81044, "message": "Record does not exist."}])

    def _gandi(self, name: str, body: dict[str, Any], *, known: bool) -> None:
        if not known:
            self._answer(403, {"code": 403, "message": "Access was denied to this resource.", "cause": "Forbidden"})
        elif self.command == "POST":
            for value in body["rrset_values"]:
                self.dns.add(name, value)
            self._answer(201, {"message": "DNS Record Created"})
        else:
            for key in [key for key, (other, _) in self.dns.records.items() if other == name]:
                self.dns.remove(key)
            self._answer(204, None)

    def _cloudflare(self, status: int, result: Any = None, errors: list[dict[str, Any]] | None = None) -> None:
        self._answer(status, {"success": not errors, "errors": errors or [], "messages": [], "result": result})

    def _answer(self, status: int, document: Any) -> None:
        content = b"" if document is None else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
