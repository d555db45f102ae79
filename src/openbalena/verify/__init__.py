"""The acceptance checks: what a deployment must do, seen from outside, over its public ports alone."""

from openbalena.verify import account, front, registry, vpn
from openbalena.verify.check import Check, CheckError, Result, SkipCheckError, Suspect, run
from openbalena.verify.target import Target, authority

__all__ = ["CHECKS", "Check", "CheckError", "SkipCheckError", "Result", "Suspect", "Target", "authority", "run"]

CHECKS = (
    Check("certificate", "TLS holds at every address", front.certificate),
    Check("ping", "the api answers at every address", front.ping, needs=("certificate",)),
    Check("login", "every api task accepts every session", account.login, needs=("ping",)),
    Check("resource", "what one api task writes another reads", account.resource, needs=("login",)),
    Check("registry-closed", "the registry asks for a token", registry.closed, needs=("certificate",)),
    Check(
        "registry",
        "images are pushed and pulled with the api's tokens",
        registry.push_and_pull,
        needs=("ping", "registry-closed"),
    ),
    Check("vpn", "a device opens a tunnel", vpn.tunnel, needs=("login",)),
    Check("client-address", "the api sees the client's address", front.client_address, needs=("ping",)),
    Check("ca-closed", "the CA is closed without the password", front.authority_closed, needs=("certificate",)),
    Check(
        "stats-closed", "statistics are closed without the password", front.statistics_closed, needs=("certificate",)
    ),
)
