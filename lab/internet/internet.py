"""What the api fetches from outside, on port 80: an archive of contracts, and the images of their device types.

Sources: open-balena-api 49.0.12, src/features/contracts/contracts-directory.ts (what is asked, the archive's layout)
and src/features/device-types/storage/s3.ts; docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html. No TLS, and
one device type.
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
    """A tar file, compressed, whose one folder has the name of a commit."""
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
    """By key: the description that each device type's newest image has."""
    return {
        f"{PREFIX}/{slug}/{VERSION}/device-type.json": json.dumps({"slug": slug, "name": name}).encode()
        for slug, name in DEVICE_TYPES.items()
    }


def listed(keys: Iterable[str], prefix: str) -> bytes:
    """The folders directly below `prefix`."""
    folders = {prefix + key.removeprefix(prefix).partition("/")[0] + "/" for key in keys if key.startswith(prefix)}
    root = ET.Element("ListBucketResult", xmlns="http://s3.amazonaws.com/doc/2006-03-01/")
    for folder in sorted(folders):
        ET.SubElement(ET.SubElement(root, "CommonPrefixes"), "Prefix").text = folder
    return ET.tostring(root)


class Handler(http.server.BaseHTTPRequestHandler):
    """The Host header says which of the two is meant; a bucket may be in it or first in the path."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        host = self.headers.get("Host", "").partition(":")[0]
        found: bytes | None = None
        if host == "api.github.com":
            found = archive() if _ARCHIVE.fullmatch(url.path) else None
        elif self.path == "/ping":
            found = b"OK"
        elif host in ("s3.amazonaws.com", f"{BUCKET}.s3.amazonaws.com"):
            path = url.path if host.startswith(BUCKET) else url.path.removeprefix(f"/{BUCKET}")
            query = dict(parse_qsl(url.query))
            found = listed(objects(), query.get("prefix", "")) if query else objects().get(unquote(path).lstrip("/"))
        self.send_response(200 if found is not None else 404)
        self.send_header("Content-Length", str(len(found or b"")))
        self.end_headers()
        self.wfile.write(found or b"")


class Server(http.server.ThreadingHTTPServer):
    """On IPv4 and IPv6."""

    daemon_threads = True
    request_queue_size = 128
    address_family = socket.AF_INET6


if __name__ == "__main__":
    # The kernel drops SIGTERM for a process 1 without a handler.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    Server(("::", 80), Handler).serve_forever()
