"""Whose request it is, where proxies stand in between."""

import ipaddress
from collections.abc import Sequence

from standin.settings import Network


def client_address(peer: str, forwarded_for: str, trusted: Sequence[Network]) -> str:
    """The first address, from our side outwards, that is no trusted proxy.

    `peer` is the other end of the TCP connection, `forwarded_for` the X-Forwarded-For header ("" without one), each
    proxy having added its peer on the right. An untrusted peer's header is worth nothing, which is what
    express's "trust proxy" does with a list of networks (expressjs.com/en/guide/behind-proxies.html).
    """
    hops = [peer, *(part.strip() for part in reversed(forwarded_for.split(",")) if part.strip())]
    for hop in hops:
        try:
            address = ipaddress.ip_address(hop)
        except ValueError:
            return hop
        if not any(address in network for network in trusted):
            return hop
    return hops[-1]
