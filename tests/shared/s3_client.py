"""A client of S3 that signs on its own."""

import hashlib
import hmac
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, urlencode

import httpx

ACCESS, SECRET = "access-key", "secret-key"


class Client:
    """Signs as docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html says."""

    def __init__(self, port: int, directory: Path) -> None:
        self.host = f"127.0.0.1:{port}"
        self.directory = directory
        self.secret = SECRET
        self.http = httpx.Client(timeout=10)

    def request(self, method: str, path: str, body: bytes = b"", /, **options: str) -> httpx.Response:
        """`options` are query parameters, headers where they begin with a capital letter."""
        query = {name: value for name, value in options.items() if name[0].islower()}
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        parameters = urlencode(sorted(query.items()), quote_via=quote, safe="-_.~")
        headers = self._headers(method, path, parameters, hashlib.sha256(body).hexdigest(), stamp)
        headers |= {name.replace("_", "-"): value for name, value in options.items() if name[0].isupper()}
        url = self._url(path)
        return self.http.request(method, f"{url}?{parameters}" if parameters else url, content=body, headers=headers)

    def chunked(
        self, path: str, content: bytes, size: int, change: Callable[[bytes], bytes] = lambda body: body
    ) -> httpx.Response:
        """PUT in signed chunks of `size` bytes; `change` is what happens to the body on the way.

        docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
        """
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        headers = self._headers("PUT", path, "", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", stamp)
        signature, empty, body = headers["Authorization"][-64:], hashlib.sha256(b"").hexdigest(), b""
        for begin in range(0, len(content) + size, size):
            chunk = content[begin : begin + size]
            digest = hashlib.sha256(chunk).hexdigest()
            words = ("AWS4-HMAC-SHA256-PAYLOAD", stamp, self.scope(stamp), signature, empty, digest)
            signature = hmac.new(self._key(stamp), "\n".join(words).encode(), hashlib.sha256).hexdigest()
            body += f"{len(chunk):x};chunk-signature={signature}\r\n".encode() + chunk + b"\r\n"
            if not chunk:
                break
        return self.http.put(self._url(path), content=change(body), headers=headers)

    def _headers(self, method: str, path: str, parameters: str, content: str, stamp: str) -> dict[str, str]:
        headers = {"host": self.host, "x-amz-content-sha256": content, "x-amz-date": stamp}
        signed = ";".join(sorted(headers))
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        target = quote(path, safe="/-_.~")
        signature = self.sign(f"{method}\n{target}\n{parameters}\n{lines}\n{signed}\n{content}", stamp)
        credential = f"{ACCESS}/{self.scope(stamp)}"
        headers["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={signed}, Signature={signature}"
        )
        return headers

    def _url(self, path: str) -> str:
        return f"http://{self.host}{quote(path, safe='/-_.~')}"

    def presigned(self, path: str, age: timedelta = timedelta(0), lifetime: int = 60) -> str:
        stamp = f"{datetime.now(UTC) - age:%Y%m%dT%H%M%SZ}"
        query = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"{ACCESS}/{self.scope(stamp)}",
            "X-Amz-Date": stamp,
            "X-Amz-Expires": str(lifetime),
            "X-Amz-SignedHeaders": "host",
        }
        parameters = urlencode(sorted(query.items()), quote_via=quote, safe="-_.~")
        signature = self.sign(f"GET\n{path}\n{parameters}\nhost:{self.host}\n\nhost\nUNSIGNED-PAYLOAD", stamp)
        return f"http://{self.host}{path}?{parameters}&X-Amz-Signature={signature}"

    def scope(self, stamp: str) -> str:
        return f"{stamp[:8]}/anywhere/s3/aws4_request"

    def sign(self, request: str, stamp: str) -> str:
        digest = hashlib.sha256(request.encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{self.scope(stamp)}\n{digest}"
        return hmac.new(self._key(stamp), text.encode(), hashlib.sha256).hexdigest()

    def _key(self, stamp: str) -> bytes:
        key = f"AWS4{self.secret}".encode()
        for part in self.scope(stamp).split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        return key
