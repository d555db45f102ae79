"""Requests to a given ingress address under a given host name."""

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
        import httpx

        host = self.target.host(name)
        scheme = "https" if port == 443 else "http"
        bracketed = f"[{address}]" if ":" in address else address
        limits = httpx.Limits(max_keepalive_connections=0)
        try:
            with httpx.Client(
                verify=self.target.trust, timeout=TIMEOUT, limits=limits, trust_env=False, http2=False
            ) as client:
                return client.request(
                    method,
                    f"{scheme}://{bracketed}:{port}{path}",
                    json=json,
                    content=content,
                    headers={"Host": host, **(headers or {})},
                    auth=basic,
                    extensions={"sni_hostname": host},
                )
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise UnreachableError(
                f"{method} {scheme}://{host}{path.partition('?')[0]} at {address}: {reason}"
            ) from error
