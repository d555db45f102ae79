"""The HTTP interface of the store."""

import hashlib
import http.server
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import suppress
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from . import signature
from .errors import S3Error
from .listing import element, list_objects, list_parts, list_uploads, moment
from .store import Store, sync

_CHUNK = 1 << 20
_MAX_DOCUMENT = 1 << 20
_LARGEST_CHUNK = 16 << 20
_CHUNK_HEAD = re.compile(rb"([0-9a-f]{1,8});chunk-signature=([0-9a-f]{64})\r\n")


class Server(http.server.ThreadingHTTPServer):
    """One store, one pair of keys, port 80."""

    daemon_threads = False
    # Go's net.Listen uses the kernel's somaxconn, which is at least this.
    request_queue_size = 128

    def __init__(self, store: Store, keys: signature.Keys, port: int = 80) -> None:
        super().__init__(("", port), Handler)
        self.store = store
        self.keys = keys


class Handler(http.server.BaseHTTPRequestHandler):
    """`<method>_<target>` handles one kind of request; the target is service, bucket or item."""

    server: Server
    protocol_version = "HTTP/1.1"
    # Seconds that an idle connection is kept, and that either end may delay the other.
    timeout = 60

    def handle(self) -> None:
        # HAProxy resets the connection of a health check as soon as it has seen the status.
        with suppress(ConnectionError):
            super().handle()

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.query = dict(parse_qsl(url.query, keep_blank_values=True))
        self.bucket, _, self.key = unquote(url.path).lstrip("/").partition("/")
        self.content: Path | None = None
        try:
            expected = signature.check(self.server.keys, self.command, self.path, self.headers)
            self._receive(expected)
            target = "item" if self.key else "bucket" if self.bucket else "service"
            action = getattr(self, f"{self.command.lower()}_{target}", None)
            if action is None:
                raise S3Error(405, "MethodNotAllowed")
            action()
        except S3Error as error:
            self._refuse(error)
        except ValueError as error:
            self._refuse(S3Error(400, "InvalidArgument", str(error)))
        finally:
            if self.content:
                self.content.unlink(missing_ok=True)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 (names of http.server)

    def _receive(self, expected: str) -> None:
        """Write the body, if the request may have one, to a file; its SHA-256 must be `expected`."""
        if self.command not in ("PUT", "POST"):
            self.close_connection = self.close_connection or "Content-Length" in self.headers
            return
        if "Transfer-Encoding" in self.headers:
            raise S3Error(411, "MissingContentLength")
        if expected.startswith("STREAMING-") and expected != signature.CHUNKS:
            raise S3Error(501, "NotImplemented", f"this store does not support {expected}")
        digest = hashlib.sha256()
        self.content = self.server.store.temporary()
        with self.content.open("wb") as stream:
            for chunk in self._signed_chunks() if expected == signature.CHUNKS else self._chunks():
                digest.update(chunk)
                stream.write(chunk)
            sync(stream)
        if expected not in (signature.UNSIGNED, signature.CHUNKS, digest.hexdigest()):
            raise S3Error(400, "XAmzContentSHA256Mismatch")

    def _chunks(self) -> Iterator[bytes]:
        left = int(self.headers.get("Content-Length") or 0)
        while left:
            chunk = self.rfile.read(min(left, _CHUNK))
            if not chunk:
                raise S3Error(400, "IncompleteBody")
            yield chunk
            left -= len(chunk)

    def _signed_chunks(self) -> Iterator[bytes]:
        """The content of a body of `SIZE;chunk-signature=SIGNATURE` and as many bytes each, until an empty one."""
        signatures = signature.Chunks(self.server.keys, self.headers)
        while True:
            match = _CHUNK_HEAD.fullmatch(self.rfile.readline(200))
            size = int(match[1], 16) if match else _LARGEST_CHUNK + 1
            chunk = self.rfile.read(size) if size <= _LARGEST_CHUNK else b""
            if match is None or len(chunk) != size or self.rfile.read(2) != b"\r\n":
                raise S3Error(400, "IncompleteBody")
            signatures.check(chunk, match[2].decode())
            if not chunk:
                return
            yield chunk

    def _document(self) -> ET.Element:
        if not self.content or self.content.stat().st_size > _MAX_DOCUMENT:
            raise S3Error(400, "MalformedXML")
        try:
            return ET.fromstring(self.content.read_bytes())  # noqa: S314 (only clients with the keys get here)
        except ET.ParseError:
            raise S3Error(400, "MalformedXML") from None

    def _taken(self) -> Path:
        """The file with the body, or with a copy of the object in X-Amz-Copy-Source; the store takes it over."""
        if self.content is None:
            raise AssertionError("the body must be received first")
        source = self.headers.get("X-Amz-Copy-Source")
        if source:
            bucket, _, key = unquote(source).lstrip("/").partition("/")
            item, path = self.server.store.item(bucket, key)
            begin, end = _range(self.headers.get("X-Amz-Copy-Source-Range", ""), item.size)
            with path.open("rb") as stream, self.content.open("wb") as copy:
                stream.seek(begin)
                copy.write(stream.read(end - begin))
                sync(copy)
        return self.content

    # --- the service and buckets

    def get_service(self) -> None:
        names = [element("Bucket", element("Name", name)) for name in self.server.store.buckets()]
        self._xml(element("ListAllMyBucketsResult", element("Buckets", *names)))

    def head_bucket(self) -> None:
        self.server.store.bucket(self.bucket)
        self._answer(200)

    def put_bucket(self) -> None:
        self.server.store.make_bucket(self.bucket)
        self._answer(200)

    def get_bucket(self) -> None:
        store = self.server.store
        store.bucket(self.bucket)
        if "location" in self.query:
            self._xml(element("LocationConstraint"))
        elif "versioning" in self.query:
            self._xml(element("VersioningConfiguration"))
        elif "uploads" in self.query:
            self._xml(list_uploads(store, self.bucket, self.query))
        else:
            self._xml(list_objects(store, self.bucket, self.query))

    def post_bucket(self) -> None:
        if "delete" not in self.query:
            raise S3Error(405, "MethodNotAllowed")
        deleted = []
        for each in self._document().iter():
            if each.tag.rpartition("}")[2] == "Key":
                self.server.store.delete(self.bucket, each.text or "")
                deleted.append(element("Deleted", element("Key", each.text or "")))
        self._xml(element("DeleteResult", *deleted))

    # --- objects

    def head_item(self) -> None:
        self.get_item()

    def get_item(self) -> None:
        store = self.server.store
        if "uploadId" in self.query:
            self._xml(list_parts(store, self.bucket, self.key, self.query))
            return
        item, path = store.item(self.bucket, self.key)
        begin, end = _range(self.headers.get("Range", ""), item.size)
        partial = (begin, end) != (0, item.size)
        headers = {
            "ETag": item.etag,
            "Last-Modified": formatdate(item.modified, usegmt=True),
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
        }
        if partial:
            headers["Content-Range"] = f"bytes {begin}-{end - 1}/{item.size}"
        with path.open("rb") as stream:
            stream.seek(begin)
            self._head(206 if partial else 200, end - begin, headers)
            left = end - begin if self.command == "GET" else 0
            while left and (chunk := stream.read(min(left, _CHUNK))):
                self.wfile.write(chunk)
                left -= len(chunk)

    def put_item(self) -> None:
        store = self.server.store
        if "uploadId" in self.query:
            number = self.query.get("partNumber", "")
            if not number.isdigit() or not 1 <= int(number) <= 10000:
                raise S3Error(400, "InvalidArgument")
            item = store.put_part(self.bucket, self.key, self.query["uploadId"], int(number), self._taken())
            result = "CopyPartResult"
        else:
            item, result = store.put(self.bucket, self.key, self._taken()), "CopyObjectResult"
        if "X-Amz-Copy-Source" in self.headers:
            self._xml(element(result, element("ETag", item.etag), element("LastModified", moment(item.modified))))
        else:
            self._answer(200, {"ETag": item.etag})

    def post_item(self) -> None:
        store = self.server.store
        names = element("Bucket", self.bucket), element("Key", self.key)
        if "uploads" in self.query:
            upload = element("UploadId", store.begin(self.bucket, self.key))
            self._xml(element("InitiateMultipartUploadResult", *names, upload))
        elif "uploadId" in self.query:
            numbers = [int(e.text or 0) for e in self._document().iter() if e.tag.rpartition("}")[2] == "PartNumber"]
            item = store.complete(self.bucket, self.key, self.query["uploadId"], numbers)
            self._xml(element("CompleteMultipartUploadResult", *names, element("ETag", item.etag)))
        else:
            raise S3Error(405, "MethodNotAllowed")

    def delete_item(self) -> None:
        if "uploadId" in self.query:
            self.server.store.abort(self.bucket, self.key, self.query["uploadId"])
        else:
            self.server.store.delete(self.bucket, self.key)
        self._answer(204)

    # --- answers

    def _head(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _answer(self, status: int, headers: dict[str, str] | None = None, content: bytes = b"") -> None:
        self._head(status, len(content), headers or {})
        if self.command != "HEAD":
            self.wfile.write(content)

    def _xml(self, document: ET.Element) -> None:
        content = ET.tostring(document, encoding="utf-8", xml_declaration=True)
        self._answer(200, {"Content-Type": "application/xml"}, content)

    def _refuse(self, error: S3Error) -> None:
        # An unread rest of the body would be parsed as the next request.
        self.close_connection = True
        document = element("Error", element("Code", error.code), element("Message", str(error)))
        content = b"" if self.command == "HEAD" else ET.tostring(document, encoding="utf-8", xml_declaration=True)
        self._answer(error.status, {"Content-Type": "application/xml", "Connection": "close"}, content)

    def log_message(self, *_arguments: Any) -> None:
        """No log, because of two health checks per second."""


def _range(header: str, size: int) -> tuple[int, int]:
    """Begin and end (exclusive) of `bytes=a-b` in an object of `size` bytes (RFC 9110, 14.1.2); default: all."""
    if not header.startswith("bytes=") or "," in header:
        return 0, size
    first, _, last = header.removeprefix("bytes=").partition("-")
    begin = int(first) if first else max(size - int(last), 0)
    end = min(int(last) + 1, size) if first and last else size
    if begin >= end:
        raise S3Error(416, "InvalidRange")
    return begin, end
