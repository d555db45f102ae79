"""The acceptance checks: what a deployment must do, as seen from outside, over its public ports only."""

from openbalena.verify import account, front, network, registry, vpn
from openbalena.verify.check import Check, CheckError, Result, SkipCheckError, Suspect, run_checks
from openbalena.verify.target import Target, authority

__all__ = ["CHECKS", "Check", "CheckError", "SkipCheckError", "Result", "Suspect", "Target", "authority", "run_checks"]

CHECKS = (
    Check("address", "the deployment's addresses are known", network.address),
    Check("dns", "every host name resolves to them", network.resolve_names),
    Check("port-80", "HTTP is answered at every address", network.port(80), needs=("address",)),
    Check("port-443", "connections are accepted at every address", network.port(443), needs=("address",)),
    Check("port-10000", "the remote service's port is open", network.remote, needs=("address",)),
    Check("certificate", "chain, names and dates are valid at every address", front.certificate, needs=("port-443",)),
    Check("ping", "the api answers at every address", front.ping, needs=("certificate",)),
    Check("login", "every api task accepts every session", account.login, needs=("ping",)),
    Check("device-types", "the api has fetched the device types", account.device_types, needs=("login",)),
    Check(
        "resource", "data that one api task writes can be read from another", account.resource, needs=("device-types",)
    ),
    Check("registry-closed", "the registry requires a token", registry.closed, needs=("certificate",)),
    Check(
        "registry",
        "images are pushed and pulled with the api's tokens",
        registry.push_and_pull,
        needs=("ping", "registry-closed"),
    ),
    Check("openvpn", "the VPN shares port 443 with TLS", network.openvpn, needs=("port-443",)),
    Check("vpn", "a device opens a tunnel", vpn.tunnel, needs=("device-types", "openvpn")),
    Check("tunnel-closed", "devices can be reached only with a session", network.tunnel_closed, needs=("certificate",)),
    Check("client-address", "the api sees the client's address", front.client_address, needs=("ping",)),
    Check(
        "ca-closed",
        "the CA requires the password",
        front.authority_closed,
        needs=("certificate", "port-80"),
    ),
    Check(
        "stats-closed",
        "statistics require the password",
        front.statistics_closed,
        needs=("certificate", "port-80"),
    ),
)
