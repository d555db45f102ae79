"""A client of S3 that signs on its own."""

import hashlib
import hmac
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
        content = hashlib.sha256(body).hexdigest()
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        headers = {"host": self.host, "x-amz-content-sha256": content, "x-amz-date": stamp}
        signed = ";".join(sorted(headers))
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        target = quote(path, safe="/-_.~")
        parameters = urlencode(sorted(query.items()), quote_via=quote, safe="-_.~")
        signature = self.sign(f"{method}\n{target}\n{parameters}\n{lines}\n{signed}\n{content}", stamp)
        headers["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={ACCESS}/{self.scope(stamp)}, SignedHeaders={signed}, Signature={signature}"
        )
        headers |= {name.replace("_", "-"): value for name, value in options.items() if name[0].isupper()}
        url = f"http://{self.host}{target}?{parameters}" if parameters else f"http://{self.host}{target}"
        return self.http.request(method, url, content=body, headers=headers)

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
        key = f"AWS4{self.secret}".encode()
        for part in (*self.scope(stamp).split("/"), f"AWS4-HMAC-SHA256\n{stamp}\n{self.scope(stamp)}\n{digest}"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        return key.hex()
