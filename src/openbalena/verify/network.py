"""Names and ports: the preconditions of every request to a service."""

import contextlib
import secrets
import socket
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from openbalena.pki.certificates import HOSTS
from openbalena.verify.check import CheckError, SkipCheckError, Suspect
from openbalena.verify.target import Target
from openbalena.verify.web import TIMEOUT, Web

# In addition to the names in HAProxy's certificate: OpenVPN has its own certificate, OCSP uses plain HTTP.
_WITHOUT_TLS = ("cloudlink", "ocsp")
# Host names of the community services, by profile.
_OF_PROFILES = {"admin": ("admin", "postgrest", "remote"), "builder": ("builder", "helper")}
_CLOSED = "check that haproxy is running on that node and that no firewall blocks the port"

_REMOTE = 10000

# OpenVPN's first packets: opcode in the upper five bits (openvpn, src/openvpn/ssl_pkt.h).
_RESET_CLIENT, _RESET_SERVER = 7 << 3, 8 << 3


def lookup(host: str) -> tuple[str, ...]:
    """The addresses of `host`, of the address families that this machine has. Raises OSError if it does not resolve.

    The system's resolver limits the time (resolv.conf(5): timeout and attempts).
    """
    entries = socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in entries))


def host_names(profiles: Sequence[str]) -> list[str]:
    """The names below DNS_TLD that a deployment with `profiles` answers to."""
    return sorted({*HOSTS, *_WITHOUT_TLS, *(name for profile in profiles for name in _OF_PROFILES.get(profile, ()))})


def address(target: Target) -> str:
    """The addresses at which port 443 should answer are known."""
    if not target.addresses:
        why = f"{target.host('api')} does not resolve" if target.looked_up else "no node is labelled for ingress"
        raise CheckError(why, "create DNS records that point to the ingress nodes, or list these with --address")
    source = f"the DNS records of {target.host('api')}" if target.looked_up else "from --address or --lab"
    return f"{', '.join(target.addresses)}: {source}"


def resolve_names(target: Target) -> str:
    """Every host name resolves only to addresses of the api's host name."""
    if not target.looked_up:
        raise SkipCheckError(
            "DNS is not used, as --address or --lab sets the addresses: each request goes there with its host name"
        )
    hosts = host_names(target.profiles)
    with ThreadPoolExecutor(len(hosts)) as pool:
        problems = list(pool.map(lambda name: _dns_problem(target.host(name), target.addresses), hosts))
    by_problem: dict[str, list[str]] = {}
    for name, problem in zip(hosts, problems, strict=True):
        if problem:
            by_problem.setdefault(problem, []).append(name)
    if by_problem:
        summary = "; ".join(f"{', '.join(names)}: {problem}" for problem, names in by_problem.items())
        raise CheckError(
            f"names below {target.dns_tld}: {summary}",
            "create DNS records that point to the ingress nodes, or list these with --address",
        )
    return f"{', '.join(hosts)} below {target.dns_tld}"


def port(number: int) -> Callable[[Target], str]:
    """A check that port `number` is open at every address: that it answers HTTP, or on 443 accepts a connection."""

    def check(target: Target) -> str:
        for address in target.addresses:
            if number == 443:
                _connect(address).close()
            else:
                Web(target).request("GET", address, "api", "/ping", port=number)
        return f"open at {', '.join(target.addresses)}"

    return check


def remote(target: Target) -> str:
    """The remote service's port is open at the ingress node where it runs. It opens further ports on demand."""
    if "admin" not in target.profiles:
        raise SkipCheckError("the service remote runs only with the profile admin")
    for address in target.addresses:
        with contextlib.suppress(OSError), socket.create_connection((address, _REMOTE), TIMEOUT):
            return f"open at {address}"
    raise CheckError(
        f"closed at {', '.join(target.addresses)}",
        "check that remote is running and that no firewall blocks the ports 10000 to 10009",
        Suspect("remote"),
    )


def openvpn(target: Target) -> str:
    """At every address, traffic on port 443 that is not TLS reaches the VPN, which answers a client's first packet."""
    hello = bytes([_RESET_CLIENT]) + secrets.token_bytes(8) + bytes(5)  # our session; no packet acknowledged, packet 0
    for address in target.addresses:
        with _connect(address) as connection:
            answer = _ask(connection, len(hello).to_bytes(2) + hello, 3)
        if answer[2:] != bytes([_RESET_SERVER]):
            raise CheckError(
                f"OpenVPN does not answer at {address}:443",
                "see the logs of vpn: a task is healthy only after it has registered with the api",
                Suspect("vpn"),
            )
    return f"answers at {', '.join(target.addresses)}"


def tunnel_closed(target: Target) -> str:
    """At every address `tunnel.` speaks HTTP, and does not connect clients without a session to a device."""
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
                f"{host} at {address} connects to a device without a session", "see the logs of vpn", Suspect("vpn")
            )
    return f"refused without a session ({status})"


def _dns_problem(host: str, addresses: Sequence[str]) -> str:
    """What is wrong with the DNS records of `host`; "" if all of them are among `addresses`."""
    try:
        elsewhere = [address for address in lookup(host) if address not in addresses]
    except OSError as error:
        return error.strerror or str(error)
    return f"resolves to {', '.join(elsewhere)}" if elsewhere else ""


def _connect(address: str) -> socket.socket:
    try:
        return socket.create_connection((address, 443), TIMEOUT)
    except OSError as error:
        raise CheckError(f"port 443 at {address}: {error}", _CLOSED, Suspect("haproxy")) from None


def _ask(connection: socket.socket, request: bytes, size: int) -> bytes:
    """The first `size` bytes of the response; fewer if the peer closes the connection or stops sending."""
    answer = b""
    try:
        connection.sendall(request)
        while len(answer) < size and (chunk := connection.recv(size - len(answer))):
            answer += chunk
    except (TimeoutError, ConnectionError, ssl.SSLError):
        pass
    return answer
