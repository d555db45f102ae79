"""What is checked: a deployment's names, its ingress addresses, and what one must know to use it."""

import base64
import functools
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from openbalena.errors import UsageError
from openbalena.files import read
from openbalena.secrets.pki import serves_own


@dataclass(frozen=True)
class Target:
    """`addresses` are where port 443 answers (one of each ingress node), none where the api's name does not resolve;
    `looked_up` says that they are what DNS says of that name, not what the user or the lab says. `authority` is the PEM
    of the deployment's own CA, or "" for the system's; `openvpn` is the client's program, None where there is none.
    `values` are the settings. `vpn_authority` is the PEM of the CA that devices know the VPN by, where it is another:
    the VPN's certificate is always of the deployment's own CA. `report` is told what a check waits for.
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
        """The Compose profiles that run."""
        return self.values.get("COMPOSE_PROFILES", "").split(",")

    def alternate(self, turn: int) -> str:
        """The address whose turn it is, so that consecutive requests come in at different nodes."""
        return self.addresses[turn % len(self.addresses)]

    @functools.cached_property
    def trust(self) -> ssl.SSLContext:
        """Certificates of the roots of the deployment's own CA alone, or of the system's where it has none.

        Not the CAs below the roots, which servers have to send: most clients know the root alone.
        """
        if not self.authority:
            return ssl.create_default_context()
        from openbalena.secrets.keys import certificate_pem, roots

        return ssl.create_default_context(cadata=certificate_pem(*roots(self.authority)).decode())

    def value(self, name: str) -> str:
        """A setting that a check needs. Raises UsageError where it is empty."""
        value = self.values.get(name, "")
        if not value:
            raise UsageError(f"{name} is not set: run ./open-balena.sh config")
        return value


def authority(values: Mapping[str, str], pki: Path) -> str:
    """The PEM of the CA that signed the deployment's certificate: ROOT_CA where set, else our PKI's.

    "" where neither is there, or HAProxy serves another CA's: then the certificate has to be of a public CA.
    Raises UsageError where ROOT_CA is not base64 of PEM.
    """
    encoded = values.get("ROOT_CA", "")
    if encoded:
        try:
            return base64.b64decode(encoded, validate=True).decode("ascii")
        except ValueError:
            raise UsageError("ROOT_CA: expected base64 of PEM, as `base64 -w0 ca.pem` prints it") from None
    bundle = pki / "ca-bundle.pem"
    return read(bundle).decode() if bundle.exists() and serves_own(pki) else ""
