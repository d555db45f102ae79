"""The query of the image store that each worker makes at startup; the worker dies if it fails.

Source: open-balena-api 49.0.12, init.ts (which does not await it), src/features/device-types/device-types-list.ts and
storage/s3.ts: without device types there is no query; it fails if the list is refused or has no image of a known device
type. An unhandled promise rejection terminates Node.js.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import threading
import time
import urllib.error
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from . import outside
from .settings import ImageStore

if TYPE_CHECKING:
    from .store import Store

# The AWS SDK for JavaScript 2: three retries, after 100 ms and then twice as long each time.
_ATTEMPTS = 4
_NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"


class NoDeviceTypeError(Exception):
    """The store answers, but has no image of a known device type."""


def ask(store: Store, images: ImageStore) -> None:
    """Query the store in a thread; if that fails, the process exits with 1, some time after it started to listen."""

    def run() -> None:
        try:
            check(images, {row["slug"] for row in store.rows("SELECT slug FROM device_type")})
        except Exception as error:
            # The real one has been listening for a while by then.
            time.sleep(1)
            print(f"Unhandled rejection: {type(error).__name__}: {error}", flush=True)
            os._exit(1)

    threading.Thread(target=run, daemon=True).start()


def check(images: ImageStore, slugs: set[str]) -> None:
    """Raises OSError if the store does not answer or refuses to list, and NoDeviceTypeError."""
    if slugs and not any(_has_image(images, slug) for slug in _folders(images, images.prefix) if slug in slugs):
        raise NoDeviceTypeError(f"Could not retrieve any device type from {images.bucket} at {images.endpoint}")


def _has_image(images: ImageStore, slug: str) -> bool:
    """Whether any version has a description; errors of one device type are ignored."""
    with contextlib.suppress(OSError):
        for version in _folders(images, f"{images.prefix}/{slug}"):
            with contextlib.suppress(OSError):
                _get(images, f"{images.prefix}/{slug}/{version}/device-type.json", {})
                return True
    return False


def _folders(images: ImageStore, folder: str) -> list[str]:
    query = {"delimiter": "/", "list-type": "2", "prefix": f"{folder}/"}
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            document = ET.fromstring(_get(images, "", query))  # noqa: S314 (the deployment's own store, or the lab's)
            break
        except urllib.error.HTTPError:
            raise
        except OSError:
            if attempt == _ATTEMPTS:
                raise
            time.sleep(0.1 * 2 ** (attempt - 1))
    prefixes = [e.text or "" for e in document.iter() if e.tag.removeprefix(_NAMESPACE) == "Prefix"]
    return [prefix.rstrip("/").rpartition("/")[2] for prefix in prefixes if prefix.rstrip("/") != folder]


def _get(images: ImageStore, key: str, query: dict[str, str]) -> bytes:
    scheme, _, host = images.endpoint.rpartition("://")
    path = f"/{quote(key)}"
    if images.by_path:
        path = f"/{images.bucket}{path}".rstrip("/")
    else:
        host = f"{images.bucket}.{host}"
    parameters = urlencode(sorted(query.items()), quote_via=quote, safe="-_.~")
    headers = _signed(images, host, path, parameters) if images.access_key else {}
    return outside.get(f"{scheme or 'https'}://{host}{path}{'?' if parameters else ''}{parameters}", headers)


def _signed(images: ImageStore, host: str, path: str, parameters: str) -> dict[str, str]:
    """The headers of a GET (docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html)."""
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    empty = hashlib.sha256().hexdigest()
    names = "host;x-amz-content-sha256;x-amz-date"
    request = (
        f"GET\n{path}\n{parameters}\nhost:{host}\nx-amz-content-sha256:{empty}\nx-amz-date:{stamp}\n\n{names}\n{empty}"
    )
    scope = f"{stamp[:8]}/us-east-1/s3/aws4_request"
    key = f"AWS4{images.secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    return {
        "Authorization": f"AWS4-HMAC-SHA256 Credential={images.access_key}/{scope}, SignedHeaders={names}, "
        f"Signature={signature}",
        "X-Amz-Content-Sha256": empty,
        "X-Amz-Date": stamp,
    }
