"""The acceptance checks: what a deployment must do, seen from outside, over its public ports alone."""

from openbalena.verify import account, front, network, registry, vpn
from openbalena.verify.check import Check, CheckError, Result, SkipCheckError, Suspect, run
from openbalena.verify.target import Target, authority

__all__ = ["CHECKS", "Check", "CheckError", "SkipCheckError", "Result", "Suspect", "Target", "authority", "run"]

CHECKS = (
    Check("address", "it is known where the deployment answers", network.address),
    Check("dns", "every host name leads there", network.names),
    Check("port-80", "HTTP is answered at every address", network.port(80), needs=("address",)),
    Check("port-443", "connections are accepted at every address", network.port(443), needs=("address",)),
    Check("port-10000", "the remote service's port is open", network.remote, needs=("address",)),
    Check("certificate", "chain, names and dates hold at every address", front.certificate, needs=("port-443",)),
    Check("ping", "the api answers at every address", front.ping, needs=("certificate",)),
    Check("login", "every api task accepts every session", account.login, needs=("ping",)),
    Check("device-types", "the api has fetched what devices there are", account.device_types, needs=("login",)),
    Check("resource", "what one api task writes another reads", account.resource, needs=("device-types",)),
    Check("registry-closed", "the registry asks for a token", registry.closed, needs=("certificate",)),
    Check(
        "registry",
        "images are pushed and pulled with the api's tokens",
        registry.push_and_pull,
        needs=("ping", "registry-closed"),
    ),
    Check("openvpn", "the VPN answers beside TLS on port 443", network.openvpn, needs=("port-443",)),
    Check("vpn", "a device opens a tunnel", vpn.tunnel, needs=("device-types", "openvpn")),
    Check("tunnel-closed", "devices are reached with a session alone", network.tunnel_closed, needs=("certificate",)),
    Check("client-address", "the api sees the client's address", front.client_address, needs=("ping",)),
    Check(
        "ca-closed",
        "the CA is closed without the password",
        front.authority_closed,
        needs=("certificate", "port-80"),
    ),
    Check(
        "stats-closed",
        "statistics are closed without the password",
        front.statistics_closed,
        needs=("certificate", "port-80"),
    ),
)
