"""The client's address, behind proxies."""

import ipaddress
from collections.abc import Sequence

from .settings import Network


def client_address(peer: str, forwarded_for: str, trusted: Sequence[Network]) -> str:
    """The first address, starting from our side, that is not a trusted proxy.

    `peer` is the other end of the TCP connection, `forwarded_for` the X-Forwarded-For header ("" without one), to which
    each proxy has appended its peer. The header of an untrusted peer is ignored, as with a list of networks in
    express's "trust proxy" (expressjs.com/en/guide/behind-proxies.html).
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
