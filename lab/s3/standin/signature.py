"""AWS Signature Version 4, in the header or in the query.

docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html
"""

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import Message
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from .errors import S3Error

_ALGORITHM = "AWS4-HMAC-SHA256"
_SKEW = timedelta(minutes=15)
_MAX_LIFETIME = 7 * 24 * 3600
_HEADER = re.compile(r"AWS4-HMAC-SHA256 +Credential=([^,]+), *SignedHeaders=([^,]+), *Signature=([0-9a-f]{64})")
UNSIGNED = "UNSIGNED-PAYLOAD"
# What stands for the body's SHA-256 if its chunks are signed instead.
CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
_EMPTY = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True)
class Keys:
    """The keys that clients sign with."""

    access: str
    secret: str


def check(keys: Keys, method: str, target: str, headers: Message) -> str:
    """Check the signature; returns the SHA-256 that the body must have (hex), or UNSIGNED.

    Raises S3Error: 403 for a request that is unsigned, signed with other keys, modified, or too old.
    """
    url = urlsplit(target)
    query = parse_qsl(url.query, keep_blank_values=True)
    if "Authorization" in headers:
        match = _HEADER.fullmatch(headers["Authorization"])
        if match is None:
            raise S3Error(400, "AuthorizationHeaderMalformed")
        credential, signed, signature = match.groups()
        stamp, content = headers.get("X-Amz-Date", ""), headers.get("X-Amz-Content-Sha256", "")
        lifetime = _SKEW
    else:
        values = dict(query)
        if values.get("X-Amz-Algorithm") != _ALGORITHM:
            raise S3Error(403, "AccessDenied", "the request is not signed")
        credential, signed = values.get("X-Amz-Credential", ""), values.get("X-Amz-SignedHeaders", "")
        signature, stamp = values.get("X-Amz-Signature", ""), values.get("X-Amz-Date", "")
        seconds = values.get("X-Amz-Expires", "")
        if not seconds.isdigit() or int(seconds) > _MAX_LIFETIME:
            raise S3Error(400, "AuthorizationQueryParametersError")
        lifetime, content = timedelta(seconds=int(seconds)), UNSIGNED
        query = [(name, value) for name, value in query if name != "X-Amz-Signature"]
    _check_time(stamp, lifetime)
    access, _, scope = credential.partition("/")
    if not hmac.compare_digest(access.encode(), keys.access.encode()):
        raise S3Error(403, "InvalidAccessKeyId")
    names = signed.split(";")
    if "host" not in names:
        raise S3Error(403, "AccessDenied", "the host is not signed")
    request = "\n".join(
        (
            method,
            quote(unquote(url.path), safe="/-_.~"),
            "&".join(sorted(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in query)),
            *(f"{name}:{' '.join(headers.get(name, '').split())}" for name in names),
            "",
            signed,
            content,
        )
    )
    text = "\n".join((_ALGORITHM, stamp, scope, hashlib.sha256(request.encode()).hexdigest()))
    if not hmac.compare_digest(_sign(_signing_key(keys.secret, scope), text).hex(), signature):
        raise S3Error(403, "SignatureDoesNotMatch")
    return content


class Chunks:
    """The signatures of a body's chunks; each covers the one before it, the first that of the request.

    docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
    """

    def __init__(self, keys: Keys, headers: Message) -> None:
        match = _HEADER.fullmatch(headers["Authorization"])
        if match is None:
            raise AssertionError("the request must be checked first")
        credential, _, self._last = match.groups()
        self._scope = credential.partition("/")[2]
        self._stamp = headers["X-Amz-Date"]
        self._key = _signing_key(keys.secret, self._scope)

    def check(self, chunk: bytes, signature: str) -> None:
        """Raises S3Error unless `signature` is that of the next chunk."""
        digest = hashlib.sha256(chunk).hexdigest()
        text = "\n".join((f"{_ALGORITHM}-PAYLOAD", self._stamp, self._scope, self._last, _EMPTY, digest))
        self._last = _sign(self._key, text).hex()
        if not hmac.compare_digest(self._last, signature):
            raise S3Error(403, "SignatureDoesNotMatch", "a chunk is signed with other keys, or was changed")


def _check_time(stamp: str, lifetime: timedelta) -> None:
    try:
        age = datetime.now(UTC) - datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise S3Error(403, "AccessDenied", "the request has no date") from None
    if not -_SKEW < age < lifetime:
        raise S3Error(403, "RequestTimeTooSkewed")


def _signing_key(secret: str, scope: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = _sign(key, part)
    return key


def _sign(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
