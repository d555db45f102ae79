"""HTTP requests to hosts that may be outside the deployment."""

import urllib.request
from collections.abc import Mapping
from urllib.parse import urlsplit

# Hosts with a stand-in in the lab, on port 80 only (lab/internet), since it could not have their certificates.
_WITHOUT_TLS = ("github.com", "amazonaws.com")
# Seconds. The real api's timeout is minutes if packets are dropped; refused connections fail immediately in both.
_TIMEOUT = 5.0


def get(url: str, headers: Mapping[str, str] | None = None) -> bytes:
    """The body of a response with status 200. Raises OSError, including HTTPError."""
    host = urlsplit(url).hostname or ""
    if any(f".{host}".endswith(f".{known}") for known in _WITHOUT_TLS):
        url = url.replace("https://", "http://", 1)
    request = urllib.request.Request(url, headers={"User-Agent": "balena", **(headers or {})})  # noqa: S310 (ours)
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
        content: bytes = answer.read()
    return content
