"""The types of variables.yml: the format of a value, and the description of it in messages."""

import ipaddress
import re
from base64 import b64decode
from collections.abc import Callable
from typing import NamedTuple

from openbalena.base.names import DATABASE_ROLES

# The role that owns everything in openBalena's database image (pki.database_login).
DATABASE_OWNER = "docker"


class Type(NamedTuple):
    """`matches(value)` is whether a non-empty value is valid; `expected` completes "expected …"."""

    expected: str
    matches: Callable[[str], bool]


# RFC 1123, section 2.1, and RFC 1035, section 2.3.4: letters, digits, inner hyphens, 63 octets a label.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})+")
# A name has at most 253 characters (RFC 1035, 2.3.4, without the trailing dot); the longest name we serve is a device's
# public URL: 32 hex digits and ".devices." before the domain.
MAX_DOMAIN = 253 - len(32 * "0" + ".devices.")

# github.com/distribution/reference, regexp.go: [domain/]path[:tag][@digest].
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REGISTRY = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_REPOSITORY = rf"(?:{_REGISTRY}/)?{_COMPONENT}(?:/{_COMPONENT})*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"

# swarmkit, manager/controlapi/service.go: service names; the engine allows 64 characters for a config's name, and our
# longest is <stack>_server-ca-certificate-<12 hex digits>.
_STACK = re.compile(r"[A-Za-z0-9](?:[-_]*[A-Za-z0-9]+)*")
MAX_STACK = 64 - len("_server-ca-certificate-" + 12 * "0")

# RFC 3986, 3.2.1: characters that need no escaping in a URL's user and password; without the colon, which separates the
# two, and the apostrophe, which the images' env file parser strips in pairs.
_URL_WORD = re.compile(r"[A-Za-z0-9._~!$&()*+,;=-]+")


# docker/go-units, RAMInBytes: units are powers of 1024.
_SIZE = re.compile(r"([1-9][0-9]{0,11})(?:b|([kmgt])(?:i?b)?)?", re.IGNORECASE)


def in_bytes(size: str) -> int:
    """The bytes of an amount of memory in Compose's notation, such as 512M or 2gb; 0 if it is malformed."""
    match = _SIZE.fullmatch(size)
    return int(match[1]) << 10 * " kmgt".index((match[2] or " ").lower()) if match else 0


_DURATION = re.compile(r"(?:([0-9]{1,3})h)?(?:([0-9]{1,4})m)?(?:([0-9]{1,6})s)?")


def in_seconds(duration: str) -> int:
    """The seconds of a duration in Compose's notation, in whole hours, minutes and seconds; 0 if it is malformed."""
    match = _DURATION.fullmatch(duration)
    hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    return hours * 3600 + minutes * 60 + seconds


def _pattern(expected: str, pattern: str) -> Type:
    return Type(expected, lambda value: re.fullmatch(pattern, value) is not None)


def _is_host(value: str) -> bool:
    return (len(value) <= 253 and _HOST.fullmatch(value) is not None) or _is_address(value)


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def _is_host_port(value: str) -> bool:
    host, separator, port = value.partition(":")
    return _is_host(host) and (not separator or _is_port(port))


def _is_port(value: str) -> bool:
    return value.isascii() and value.isdigit() and len(value) <= 5 and 1 <= int(value) <= 65535


def _is_domain(value: str) -> bool:
    return (
        len(value) <= MAX_DOMAIN
        and value == value.lower()
        and _DOMAIN.fullmatch(value) is not None
        # RFC 3696, 2: a top-level domain is not all digits; such a name reads as an address.
        and not value.rpartition(".")[2].isdigit()
    )


def _is_email(value: str) -> bool:
    # The characters of a dot-atom (RFC 5322, 3.2.3), the form that mail addresses have in practice.
    local, _, domain = value.rpartition("@")
    return len(local) <= 64 and re.fullmatch(r"[\w!#$%&'*+/=?^`{|}~.-]+", local) is not None and _is_host(domain)


def _are_networks(value: str) -> bool:
    try:
        return all(ipaddress.IPv4Network(part).prefixlen and "/" in part for part in value.split(","))
    except ValueError:
        return False


def _decoded(value: str) -> bytes:
    try:
        return b64decode(value, validate=True)
    except ValueError:
        return b""


def _holds(header: bytes) -> Callable[[str], bool]:
    return lambda value: header in _decoded(value)


TYPES = {
    "text": Type("a single line of text", lambda value: value.isprintable()),
    "word": _pattern("letters, digits, dots, hyphens and underscores", r"[A-Za-z0-9._-]+"),
    "boolean": _pattern("true or false", "true|false"),
    "count": _pattern("a number from 1 to 99", r"[1-9][0-9]?"),
    "connections": _pattern("a number from 10 to 9999", r"[1-9][0-9]{1,3}"),
    "milliseconds": _pattern("milliseconds from 1000 (one second) to 99999999 (about a day)", r"[1-9][0-9]{3,7}"),
    "duration": Type("a time like 180s, 30m or 1h30m", lambda value: in_seconds(value) > 0),
    "object_prefix": _pattern("letters, digits and ._-/, without / at the beginning or end", r"[\w.-]+(/[\w.-]+)*"),
    "memory": Type("an amount of memory like 512M or 2G", lambda value: in_bytes(value) > 0),
    "port": Type("a port from 1 to 65535", _is_port),
    "domain": Type(
        "a domain in lower case like my.example.com: labels of letters, digits and hyphens, at most 63 characters "
        f"each and {MAX_DOMAIN} in total, without https:// or a path",
        _is_domain,
    ),
    "host": Type("a host name or an IP address, without scheme, port or path", _is_host),
    "url_host": Type(
        "a host name or an IPv4 address, without scheme, port or path (images put it into a URL, where an IPv6 address "
        "would need brackets)",
        lambda value: _is_host(value) and ":" not in value,
    ),
    "nfs_host": Type(
        "a host name or an IP address (nfs.invalid means none)",
        lambda value: _is_host(value) and value != "nfs.invalid",
    ),
    "host_port": Type("a host name, with :port unless it is 443, without https:// or a path", _is_host_port),
    "email": Type("an e-mail address like admin@my.example.com", _is_email),
    "networks": Type(
        "IPv4 networks like 10.0.0.0/8, separated by commas, but not all addresses (0.0.0.0/0)", _are_networks
    ),
    "absolute_path": _pattern("an absolute path without spaces", r"/[^\s,]*"),
    "backup_repository": _pattern(
        "the absolute path of a directory, s3:https://host/bucket/path or rest:https://host/path, without a password",
        r"/[^\s,:]+|s3:[^\s@]+|rest:https?://[^\s@]+",
    ),
    "directory": Type(
        "a path to a directory, without ~ (which is not expanded)",
        lambda value: not any(part.startswith("~") for part in value.split("/")),
    ),
    "docker_host": _pattern("an address like unix:///var/run/docker.sock or tcp://host:2376", r"(unix|tcp|ssh)://\S+"),
    "parts": _pattern("admin, builder or admin,builder", "(admin|builder)(,(admin|builder))*"),
    "profiles": _pattern("names separated by commas", r"[A-Za-z0-9][\w.-]*(,[A-Za-z0-9][\w.-]*)*"),
    "ingress_mode": _pattern("host or mesh", "host|mesh"),
    "tokens_mode": _pattern("auto or user", "auto|user"),
    "token": _pattern(
        "8 to 1000 printable ASCII characters without spaces, quotes and backslashes",
        r"[!#-&(-\[\]-_a-~]{8,1000}",
    ),
    "url_word": Type(
        "only letters, digits and -._~!$&()*+,;= (images put it into a URL without escaping it)",
        lambda value: _URL_WORD.fullmatch(value) is not None,
    ),
    "database_role": Type(
        f"{DATABASE_OWNER}, {DATABASE_ROLES[0]} or {DATABASE_ROLES[1]}",
        lambda value: value in (DATABASE_OWNER, *DATABASE_ROLES),
    ),
    "base64": Type("base64 on a single line", lambda value: bool(_decoded(value))),
    "certificate": Type(
        "PEM certificates in base64, on a single line (base64 -w0)", _holds(b"-----BEGIN CERTIFICATE-----")
    ),
    "private_key": Type("a PEM private key in base64, on a single line (base64 -w0)", _holds(b"PRIVATE KEY-----")),
    "stack_name": Type(
        f"at most {MAX_STACK} letters, digits, hyphens and underscores, with a letter or digit at both ends",
        lambda value: len(value) <= MAX_STACK and _STACK.fullmatch(value) is not None,
    ),
    "image": _pattern("an image like registry.example.com/name:tag", rf"{_REPOSITORY}(?::{_TAG})?(?:@{_DIGEST})?"),
    "image_prefix": _pattern("a lower-case repository prefix like registry.example.com/openbalena", _REPOSITORY),
    "image_tag": _pattern("at most 128 letters, digits, dots, hyphens and underscores", _TAG),
}
