"""The host names that HAProxy's certificate has to be for."""

from collections.abc import Sequence

# What HAProxy ends TLS for in every deployment (images/haproxy/haproxy.cfg).
HOSTS = ("api", "ca", "delta", "logs", "registry2", "s3", "stats", "tunnel")
# Devices' public URLs: `<uuid>.devices.<domain>`.
DEVICES = "0" * 32 + ".devices"


def covers(pattern: str, host: str) -> bool:
    """Whether a certificate for `pattern` is for `host`: `*` stands for the whole first label (RFC 9525, 6.3)."""
    pattern, host = pattern.lower(), host.lower()
    if pattern.startswith("*."):
        return host.partition(".")[2] == pattern[2:]
    return pattern == host


def lacking(names: Sequence[str], dns_tld: str, hosts: Sequence[str] = HOSTS) -> list[str]:
    """Those of `hosts`, below `dns_tld`, that a certificate for `names` is not for."""
    return [host for label in hosts if not any(covers(name, host := f"{label}.{dns_tld}") for name in names)]
