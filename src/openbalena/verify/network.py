"""Names and ports: what has to be right before any service can be asked."""

import contextlib
import secrets
import socket
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from openbalena.secrets.certificates import HOSTS
from openbalena.verify.check import CheckError, SkipCheckError, Suspect
from openbalena.verify.target import Target
from openbalena.verify.web import TIMEOUT, Web

# Beside the names that HAProxy's certificate is for: OpenVPN has a certificate of its own, OCSP goes over plain HTTP.
_WITHOUT_TLS = ("cloudlink", "ocsp")
# Community services' names, by the profile that runs them.
_OF_PROFILES = {"admin": ("admin", "postgrest", "remote"), "builder": ("builder", "helper")}
_CLOSED = "see whether haproxy runs on that node, and whether a firewall stands before the port"

_REMOTE = 10000

# OpenVPN's first packets: opcode in the upper five bits (openvpn, src/openvpn/ssl_pkt.h).
_RESET_CLIENT, _RESET_SERVER = 7 << 3, 8 << 3


def lookup(host: str) -> tuple[str, ...]:
    """The addresses of `host`, of the families that this machine has itself. Raises OSError where it does not resolve.

    How long that takes at most is for the system's resolver to say (resolv.conf(5): timeout and attempts).
    """
    found = socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


def host_names(profiles: Sequence[str]) -> list[str]:
    """The names below DNS_TLD that a deployment with `profiles` answers to."""
    return sorted({*HOSTS, *_WITHOUT_TLS, *(name for profile in profiles for name in _OF_PROFILES.get(profile, ()))})


def address(target: Target) -> str:
    """It is known where port 443 answers."""
    if not target.addresses:
        why = f"{target.host('api')} does not resolve" if target.looked_up else "no node is labelled for ingress"
        raise CheckError(why, "make DNS records that point at the ingress nodes, or name these with --address")
    said = f"what DNS says of {target.host('api')}" if target.looked_up else "named by --address or --lab"
    return f"{', '.join(target.addresses)}: {said}"


def names(target: Target) -> str:
    """Every host name resolves to the addresses of the api's, and to no other."""
    if not target.looked_up:
        raise SkipCheckError(
            "DNS is not asked, as --address or --lab names the addresses: each request goes there under its host name"
        )
    wanted = host_names(target.profiles)
    with ThreadPoolExecutor(len(wanted)) as pool:
        found = list(pool.map(lambda name: _amiss(target.host(name), target.addresses), wanted))
    wrong: dict[str, list[str]] = {}
    for name, why in zip(wanted, found, strict=True):
        if why:
            wrong.setdefault(why, []).append(name)
    if wrong:
        said = "; ".join(f"{', '.join(hosts)}: {why}" for why, hosts in wrong.items())
        raise CheckError(
            f"below {target.dns_tld} {said}",
            "make DNS records that point at the ingress nodes, or name these with --address",
        )
    return f"{', '.join(wanted)} below {target.dns_tld}"


def port(number: int) -> Callable[[Target], str]:
    """A check that port `number` is open at every address: HTTP is answered there, on 443 a connection accepted."""

    def check(target: Target) -> str:
        for address in target.addresses:
            if number == 443:
                _connect(address).close()
            else:
                Web(target).request("GET", address, "api", "/ping", port=number)
        return f"open at {', '.join(target.addresses)}"

    return check


def remote(target: Target) -> str:
    """The remote service's own port is open at the one ingress node where it runs. It opens others when asked to."""
    if "admin" not in target.profiles:
        raise SkipCheckError("the service remote runs with the profile admin alone")
    for address in target.addresses:
        with contextlib.suppress(OSError), socket.create_connection((address, _REMOTE), TIMEOUT):
            return f"open at {address}"
    raise CheckError(
        f"closed at {', '.join(target.addresses)}",
        "see whether remote runs, and whether a firewall stands before the ports 10000 to 10009",
        Suspect("remote"),
    )


def openvpn(target: Target) -> str:
    """At every address what is not TLS on port 443 reaches the VPN, which answers a client's first packet."""
    hello = bytes([_RESET_CLIENT]) + secrets.token_bytes(8) + bytes(5)  # our session; no packet acknowledged, packet 0
    for address in target.addresses:
        with _connect(address) as connection:
            answer = _ask(connection, len(hello).to_bytes(2) + hello, 3)
        if answer[2:] != bytes([_RESET_SERVER]):
            raise CheckError(
                f"no OpenVPN answers at {address}:443",
                "see the logs of vpn: a task is healthy only after it has registered with the api",
                Suspect("vpn"),
            )
    return f"answers at {', '.join(target.addresses)}"


def tunnel_closed(target: Target) -> str:
    """At every address `tunnel.` speaks HTTP, and opens no way to a device for whoever says no session."""
    host, device = target.host("tunnel"), f"{secrets.token_hex(16)}.balena:22222"
    request = f"CONNECT {device} HTTP/1.0\r\nHost: {device}\r\n\r\n".encode()
    for address in target.addresses:
        with (
            _connect(address) as plain,
            target.trust.wrap_socket(plain, server_hostname=host) as connection,
        ):
            answer = _ask(connection, request, len("HTTP/1.0 407")).decode(errors="replace")
        protocol, _, status = answer.partition(" ")
        if not protocol.startswith("HTTP/1."):
            raise CheckError(f"nothing answers behind {host} at {address}", "see the logs of vpn", Suspect("vpn"))
        if status.startswith("2"):
            raise CheckError(
                f"{host} at {address} opens a way without a session", "see the logs of vpn", Suspect("vpn")
            )
    return f"refused without a session ({status})"


def _amiss(host: str, addresses: Sequence[str]) -> str:
    """What is wrong with the DNS records of `host`; "" where it leads to some of `addresses` and nowhere else."""
    try:
        elsewhere = [found for found in lookup(host) if found not in addresses]
    except OSError as error:
        return error.strerror or str(error)
    return f"at {', '.join(elsewhere)}" if elsewhere else ""


def _connect(address: str) -> socket.socket:
    try:
        return socket.create_connection((address, 443), TIMEOUT)
    except OSError as error:
        raise CheckError(f"port 443 at {address}: {error}", _CLOSED, Suspect("haproxy")) from None


def _ask(connection: socket.socket, request: bytes, size: int) -> bytes:
    """The first `size` bytes of what comes back; fewer where the other end closes or falls silent before."""
    answer = b""
    try:
        connection.sendall(request)
        while len(answer) < size and (chunk := connection.recv(size - len(answer))):
            answer += chunk
    except (TimeoutError, ConnectionError, ssl.SSLError):
        pass
    return answer
