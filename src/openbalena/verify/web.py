"""Requests to a given ingress address under a given host name."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from openbalena.verify.target import Target

if TYPE_CHECKING:
    import httpx

# Seconds for connecting and for each read or write: HAProxy's own server timeouts are longer, and a healthy deployment
# answers in well under one.
TIMEOUT = 15.0


class UnreachableError(Exception):
    """No HTTP answer at all: names the address, the host name and the error."""


@dataclass(frozen=True)
class Web:
    """Requests over the public ports. Every request opens a connection of its own: its server name is the one it asks
    for, and HAProxy gives each to the next replica.
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
    ) -> "httpx.Response":
        """Ask `https://<name>.<DNS_TLD><path>` at `address` (plain HTTP on a port other than 443).

        Redirects are not followed. Raises UnreachableError, also where the certificate does not hold.
        """
        host = self.target.host(name)
        scheme = "https" if port == 443 else "http"
        bracketed = f"[{address}]" if ":" in address else address
        return self._send(
            f"{method} {scheme}://{host}{path.partition('?')[0]} at {address}",
            self.target.trust,
            method=method,
            url=f"{scheme}://{bracketed}:{port}{path}",
            json=json,
            content=content,
            headers={"Host": host, **(headers or {})},
            auth=basic,
            extensions={"sni_hostname": host},
        )

    def outside(self, url: str) -> "httpx.Response":
        """GET a URL that is not below the deployment's domain; raises UnreachableError.

        The system's CAs are trusted there beside the deployment's own, as its services do.
        """
        trust = ssl.create_default_context()
        if self.target.authority:
            trust.load_verify_locations(cadata=self.target.authority)
        # Without the query: of a store's URL it is a signature that lets whoever reads it in.
        return self._send(f"GET {url.partition('?')[0]}", trust, method="GET", url=url)

    def _send(self, what: str, trust: ssl.SSLContext, **request: Any) -> "httpx.Response":
        import httpx

        limits = httpx.Limits(max_keepalive_connections=0)
        try:
            with httpx.Client(verify=trust, timeout=TIMEOUT, limits=limits, trust_env=False, http2=False) as client:
                return client.request(**request)
        except httpx.HTTPError as error:
            raise UnreachableError(f"{what}: {str(error) or type(error).__name__}") from error
