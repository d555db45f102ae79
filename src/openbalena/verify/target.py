"""What is checked: a deployment's names, its ingress addresses, and the credentials to use it."""

import base64
import functools
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from openbalena.base.errors import UsageError
from openbalena.base.files import read_text
from openbalena.pki.keys import certificate_pem, roots
from openbalena.pki.store import serves_own


@dataclass(frozen=True)
class Target:
    """`addresses` are those at which port 443 answers (one per ingress node), none if the api's name does not resolve;
    `looked_up` is whether they come from DNS, not from the user or the lab. `authority` is the PEM of the deployment's
    own CA, or "" for the system's; `openvpn` is the client program, None if there is none. `values` are the settings.
    `vpn_authority` is the PEM of the CA with which devices verify the VPN, if it is a different one: the VPN's
    certificate is always issued by the deployment's own CA. `report` receives messages about what a check waits for.
    """

    dns_tld: str
    addresses: tuple[str, ...]
    authority: str
    values: Mapping[str, str]
    openvpn: Path | None = None
    vpn_authority: str = ""
    looked_up: bool = False
    report: Callable[[str], None] = lambda _: None

    def host(self, name: str) -> str:
        """The full host name of `name`, such as api."""
        return f"{name}.{self.dns_tld}"

    @property
    def profiles(self) -> list[str]:
        """The enabled Compose profiles."""
        return self.values.get("COMPOSE_PROFILES", "").split(",")

    def alternate(self, turn: int) -> str:
        """The address for `turn`, so that consecutive requests go to different nodes."""
        return self.addresses[turn % len(self.addresses)]

    @functools.cached_property
    def trust(self) -> ssl.SSLContext:
        """Trusts only the roots of the deployment's own CA, or the system's if it has none.

        Intermediates are not trusted: servers must send them, as most clients have only the root.
        """
        if not self.authority:
            return ssl.create_default_context()
        return ssl.create_default_context(cadata=certificate_pem(*roots(self.authority)).decode())

    def value(self, name: str) -> str:
        """A setting that a check needs. Raises UsageError if it is empty."""
        value = self.values.get(name, "")
        if not value:
            raise UsageError(f"{name} is not set: run ./open-balena.sh config")
        return value


def authority(values: Mapping[str, str], pki: Path) -> str:
    """The PEM of the CA that issued the deployment's certificate: ROOT_CA if set, else our PKI's.

    "" if neither exists, or if HAProxy serves a certificate of another CA: then it must be from a public CA.
    Raises UsageError if ROOT_CA is not base64-encoded PEM.
    """
    encoded = values.get("ROOT_CA", "")
    if encoded:
        try:
            return base64.b64decode(encoded, validate=True).decode("ascii")
        except ValueError:
            raise UsageError("ROOT_CA: expected base64-encoded PEM, as printed by `base64 -w0 ca.pem`") from None
    bundle = pki / "ca-bundle.pem"
    return read_text(bundle).decode() if bundle.exists() and serves_own(pki) else ""
