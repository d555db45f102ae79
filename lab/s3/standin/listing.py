"""Listings as XML, in pages."""

import base64
import time
import xml.etree.ElementTree as ET
from collections.abc import Mapping

from .store import Item, Store

_PAGE = 1000


def element(name: str, *content: ET.Element | str) -> ET.Element:
    """An XML element with text or children."""
    made = ET.Element(name)
    for each in content:
        if isinstance(each, str):
            made.text = each
        else:
            made.append(each)
    return made


def moment(seconds: float) -> str:
    """A time in S3's format."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))


def list_objects(store: Store, bucket: str, query: Mapping[str, str]) -> ET.Element:
    """ListObjects and, with list-type=2, ListObjectsV2."""
    second = query.get("list-type") == "2"
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    limit = min(int(query.get("max-keys") or _PAGE), _PAGE)
    after = query.get("start-after", "") if second else query.get("marker", "")
    if query.get("continuation-token"):
        after = base64.urlsafe_b64decode(query["continuation-token"]).decode()
    entries: dict[str, Item | None] = {}
    more = False
    for item in store.items(bucket, prefix):
        name, whole = item.key, True
        if delimiter and delimiter in item.key[len(prefix) :]:
            name = prefix + item.key[len(prefix) :].partition(delimiter)[0] + delimiter
            whole = False
        if name <= after or name in entries:
            continue
        if len(entries) == limit:
            more = True
            break
        entries[name] = item if whole else None
    answer = element(
        "ListBucketResult",
        element("Name", bucket),
        element("Prefix", prefix),
        element("Delimiter", delimiter),
        element("MaxKeys", str(limit)),
        element("KeyCount", str(len(entries))),
        element("IsTruncated", str(more).lower()),
    )
    if more and second:
        token = base64.urlsafe_b64encode(list(entries)[-1].encode()).decode()
        answer.append(element("NextContinuationToken", token))
    elif more:
        answer.append(element("NextMarker", list(entries)[-1]))
    for name, entry in entries.items():
        if entry is None:
            answer.append(element("CommonPrefixes", element("Prefix", name)))
        else:
            answer.append(
                element(
                    "Contents",
                    element("Key", name),
                    element("LastModified", moment(entry.modified)),
                    element("ETag", entry.etag),
                    element("Size", str(entry.size)),
                    element("StorageClass", "STANDARD"),
                )
            )
    return answer


def list_uploads(store: Store, bucket: str, query: Mapping[str, str]) -> ET.Element:
    """ListMultipartUploads; all in one page."""
    answer = element("ListMultipartUploadsResult", element("Bucket", bucket), element("IsTruncated", "false"))
    for key, upload, begun in store.uploads(bucket, query.get("prefix", "")):
        names = element("Key", key), element("UploadId", upload), element("Initiated", moment(begun))
        answer.append(element("Upload", *names))
    return answer


def list_parts(store: Store, bucket: str, key: str, query: Mapping[str, str]) -> ET.Element:
    """ListParts; all in one page."""
    answer = element(
        "ListPartsResult",
        element("Bucket", bucket),
        element("Key", key),
        element("UploadId", query["uploadId"]),
        element("IsTruncated", "false"),
    )
    for number, part in store.parts(bucket, key, query["uploadId"]).items():
        answer.append(
            element(
                "Part",
                element("PartNumber", str(number)),
                element("LastModified", moment(part.modified)),
                element("ETag", part.etag),
                element("Size", str(part.size)),
            )
        )
    return answer
