"""Requests to a given ingress address under a given host name."""

import base64
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from openbalena.verify.target import Target

# Seconds for connecting and for each read or write: HAProxy's own server timeouts are longer, and a healthy deployment
# answers in well under one.
TIMEOUT = 15.0


class UnreachableError(Exception):
    """No HTTP response at all: names the address, the host name and the error."""


@dataclass(frozen=True)
class Response:
    """An HTTP response, read to its end. Names of `headers` are case-insensitive."""

    status_code: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def text(self) -> str:
        """The content, which is UTF-8 in all that we ask for."""
        return self.content.decode(errors="replace")

    def json(self) -> Any:
        """The content as JSON. Raises ValueError."""
        return json.loads(self.content)


@dataclass(frozen=True)
class Web:
    """Requests over the public ports. Each request opens a new connection: its SNI is the requested host name, and
    HAProxy gives each connection to the next replica.
    """

    target: Target

    def request(
        self,
        method: str,
        address: str,
        name: str,
        path: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        basic: tuple[str, str] | None = None,
        port: int = 443,
    ) -> Response:
        """Request `https://<name>.<DNS_TLD><path>` from `address` (plain HTTP on a port other than 443).

        Redirects are not followed. Raises UnreachableError, also if the certificate is not valid for that host name.
        """
        host = self.target.host(name)
        scheme = "https" if port == 443 else "http"
        bracketed = f"[{address}]" if ":" in address else address
        authorization = {"Authorization": f"Basic {_base64(':'.join(basic))}"} if basic else {}
        return _send(
            f"{method} {scheme}://{host}{path.partition('?')[0]} at {address}",
            self.target.trust,
            host,
            method=method,
            url=f"{scheme}://{bracketed}:{port}{path}",
            json=json,
            body=content,
            headers={"Host": host, **authorization, **(headers or {})},
        )

    def outside(self, url: str) -> Response:
        """GET a URL outside the deployment's domain; raises UnreachableError.

        The system's CAs are trusted there in addition to the deployment's own, as its services do.
        """
        trust = ssl.create_default_context()
        if self.target.authority:
            trust.load_verify_locations(cadata=self.target.authority)
        # Without the query: in a store's URL it is a signature that grants access.
        return _send(f"GET {url.partition('?')[0]}", trust, method="GET", url=url)


def _send(name: str, trust: ssl.SSLContext, host: str | None = None, **request: Any) -> Response:
    """Send one request; `name` is for errors, `host` replaces the URL's in SNI and in the check of the certificate."""
    import urllib3

    try:
        # No assert_hostname: it would turn off `check_hostname` in `trust`, which others use too, and the TLS library
        # already verifies the server name.
        with urllib3.PoolManager(ssl_context=trust, server_hostname=host, retries=False, timeout=TIMEOUT) as pool:
            response = pool.request(redirect=False, **request)
        return Response(response.status, response.headers, response.data)
    except urllib3.exceptions.HTTPError as error:
        cause = error.__cause__ or error.__context__ or error
        raise UnreachableError(f"{name}: {str(cause) or type(cause).__name__}") from error


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
