"""The external hosts that the api uses, on port 80: an archive of contracts, and the images of their device types.

Sources: open-balena-api 49.0.12, src/features/contracts/contracts-directory.ts (the request, the archive's layout) and
src/features/device-types/storage/s3.ts; docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html. Without TLS,
and with one device type.
"""

import http.server
import io
import json
import os
import re
import signal
import socket
import sys
import tarfile
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from urllib.parse import parse_qsl, unquote, urlsplit

BUCKET = os.environ.get("BUCKET", "resin-production-img-cloudformation")
PREFIX = "images"
# Slug and name.
DEVICE_TYPES = {"generic-amd64": "Generic x86_64"}
VERSION = "6.0.0"

_ARCHIVE = re.compile(r"/repos/balena-io/contracts/tarball/\w*")


def archive() -> bytes:
    """A compressed tar file whose top-level directory is named after a commit."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for slug, name in DEVICE_TYPES.items():
            contract = {"slug": slug, "version": "1", "type": "hw.device-type", "name": name, "data": {"arch": "amd64"}}
            text = json.dumps(contract).encode()
            member = tarfile.TarInfo(f"balena-io-contracts-0123456/contracts/hw.device-type/{slug}/contract.json")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text))
    return content.getvalue()


def objects() -> dict[str, bytes]:
    """The description of each device type's newest image, by key."""
    return {
        f"{PREFIX}/{slug}/{VERSION}/device-type.json": json.dumps({"slug": slug, "name": name}).encode()
        for slug, name in DEVICE_TYPES.items()
    }


def listed(keys: Iterable[str], prefix: str) -> bytes:
    """A listing of the folders directly below `prefix`."""
    folders = {prefix + key.removeprefix(prefix).partition("/")[0] + "/" for key in keys if key.startswith(prefix)}
    root = ET.Element("ListBucketResult", xmlns="http://s3.amazonaws.com/doc/2006-03-01/")
    for folder in sorted(folders):
        ET.SubElement(ET.SubElement(root, "CommonPrefixes"), "Prefix").text = folder
    return ET.tostring(root)


class Handler(http.server.BaseHTTPRequestHandler):
    """The Host header selects one of the two hosts; a bucket may be in it or at the start of the path."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        host = self.headers.get("Host", "").partition(":")[0]
        content: bytes | None = None
        if host == "api.github.com":
            content = archive() if _ARCHIVE.fullmatch(url.path) else None
        elif self.path == "/ping":
            content = b"OK"
        elif host in ("s3.amazonaws.com", f"{BUCKET}.s3.amazonaws.com"):
            path = url.path if host.startswith(BUCKET) else url.path.removeprefix(f"/{BUCKET}")
            query = dict(parse_qsl(url.query))
            content = listed(objects(), query.get("prefix", "")) if query else objects().get(unquote(path).lstrip("/"))
        self.send_response(200 if content is not None else 404)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")


class Server(http.server.ThreadingHTTPServer):
    """On IPv4 and IPv6."""

    daemon_threads = True
    request_queue_size = 128
    address_family = socket.AF_INET6


if __name__ == "__main__":
    # The kernel ignores SIGTERM for process 1 unless it has a handler.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    Server(("::", 80), Handler).serve_forever()
