"""The front door: responses, certificates, and which paths are open or protected."""

import socket
import ssl
import time
from datetime import UTC, datetime

from cryptography import x509

from openbalena.pki.certificates import HOSTS, LIST_PATH
from openbalena.pki.expiry import WARNING
from openbalena.verify.check import CheckError, SkipCheckError, Suspect, expect
from openbalena.verify.target import Target
from openbalena.verify.web import TIMEOUT, Web

# RFC 5737: an address reserved for documentation.
_SPOOFED = "203.0.113.7"

# The only path of cfssl that devices fetch without a password.
CRL_PATH = "/api/v1/cfssl/crl"


def ping(target: Target) -> str:
    """The api's /ping answers OK over TLS at every ingress address."""
    for address in target.addresses:
        answer = Web(target).request("GET", address, "api", "/ping")
        if answer.status_code != 200 or answer.text.strip() != "OK":
            raise CheckError(
                f"/ping at {address} answered {answer.status_code}",
                "503 means that HAProxy has no healthy api task: see the api's logs",
                Suspect("api"),
            )
    return f"OK at {', '.join(target.addresses)}"


def certificate(target: Target) -> str:
    """At every address the certificate chains to the deployment's CA, names the host, and has not expired."""
    days = []
    for address in target.addresses:
        for name in HOSTS:
            host = target.host(name)
            try:
                with (
                    socket.create_connection((address, 443), TIMEOUT) as connection,
                    target.trust.wrap_socket(connection, server_hostname=host) as secure,
                ):
                    details = secure.getpeercert() or {}
            except ssl.SSLCertVerificationError as error:
                raise CheckError(
                    f"{host} at {address}: {error.verify_message}",
                    "deploy again, so that HAProxy gets the certificate issued by the CA",
                    Suspect("haproxy", "chain.pem"),
                ) from None
            except OSError as error:
                raise CheckError(
                    f"{host} at {address}: {error}",
                    "check that haproxy is running on that node and that no firewall blocks port 443",
                    Suspect("haproxy"),
                ) from None
            days.append(int((ssl.cert_time_to_seconds(str(details["notAfter"])) - time.time()) / 86400))
    left = min(days, default=0)
    todo = ": RENEW IT (pki renew, then pki sync)" if left <= WARNING.days else ""
    return f"chain and names are valid at {', '.join(target.addresses)}, {left} days left{todo}"


def authority_closed(target: Target) -> str:
    """Without the password `ca.` serves only the revocation list, and without TLS it does not ask for the password."""
    for address in target.addresses:
        _require_tls(target, address, "ca", "/api/v1/cfssl/info")
        for path in ("/", "/api/v1/cfssl/info", "/api/v1/cfssl/sign"):
            status = Web(target).request("POST", address, "ca", path, json={}).status_code
            if status not in (401, 403):
                raise CheckError(
                    f"ca.{target.dns_tld}{path} at {address} answers {status} without a password: anyone can "
                    "have certificates signed",
                    "set HAPROXY_PASSWORD and deploy again",
                    Suspect("haproxy", "HAPROXY_PASSWORD"),
                )
        status = Web(target).request("GET", address, "ca", CRL_PATH).status_code
        if status != 200:
            raise CheckError(
                f"the revocation list at {address} answers {status}",
                "devices fetch it without a password: see the logs of balena-ca",
                Suspect("balena-ca"),
            )
        _require_list(target, address)
    return "401 without the password, 403 without TLS, the revocation list open"


def _require_list(target: Target, address: str) -> None:
    """The revocation list is at the URL named in certificates, over plain HTTP, in DER, and has not expired."""
    answer = Web(target).request("GET", address, "ca", LIST_PATH, port=80)
    path = f"http://ca.{target.dns_tld}{LIST_PATH}"
    error = f"{path} at {address} answers {answer.status_code}"
    try:
        end = x509.load_der_x509_crl(answer.content).next_update_utc if answer.status_code == 200 else None
    except ValueError:
        error, end = f"{path} at {address} is not a revocation list in DER", None
    if end is None or end < datetime.now(UTC):
        raise CheckError(
            f"{path} at {address} expired on {end:%Y-%m-%d}" if end else error,
            "clients that check for revoked certificates need it: see the logs of balena-ca, then deploy again, so "
            "that HAProxy gets this version's configuration",
            Suspect("balena-ca"),
        )


def statistics_closed(target: Target) -> str:
    """HAProxy's statistics require a password, and do not ask for it without TLS."""
    for address in target.addresses:
        _require_tls(target, address, "stats", "/")
        status = Web(target).request("GET", address, "stats", "/").status_code
        if status not in (401, 403):
            raise CheckError(
                f"statistics at {address} answer {status} without a password",
                "set HAPROXY_STATS_PASSWORD and deploy again",
                Suspect("haproxy", "HAPROXY_STATS_PASSWORD"),
            )
    return "401 without the password, 403 without TLS"


def _require_tls(target: Target, address: str, name: str, path: str) -> None:
    """Port 80 neither serves that path nor asks for a password: 401 would make clients send it in clear text."""
    status = Web(target).request("GET", address, name, path, port=80).status_code
    if status != 403:
        raise CheckError(
            f"http://{name}.{target.dns_tld}{path} at {address} answers {status} instead of 403: a password or a "
            "private key would be sent in clear text",
            "deploy again, so that HAProxy gets this version's configuration",
            Suspect("haproxy"),
        )


def client_address(target: Target) -> str:
    """The api sees our address, whatever X-Forwarded-For we send. Only the stand-in reports what it sees."""
    seen, ours, hidden = "", "", target.values.get("INGRESS_MODE") == "mesh"
    for address in target.addresses:
        answer = Web(target).request("GET", address, "api", "/stand-in/client", headers={"X-Forwarded-For": _SPOOFED})
        if answer.status_code == 404:
            raise SkipCheckError("only the lab's stand-in api reports which client it sees")
        expect(answer, 200, f"the api at {address}", "see the api's logs", Suspect("api"))
        seen, ours = str(answer.json()["client"]), _our_address(address)
        if seen == _SPOOFED:
            raise CheckError(
                f"at {address} the api trusted an X-Forwarded-For header from outside",
                "HAProxy must replace that header",
                Suspect("haproxy", "haproxy.cfg"),
            )
        if seen != ours and not hidden:
            raise CheckError(
                f"at {address} the api sees the client as {seen}, expected {ours}",
                "TRUST_PROXY must be the network from which HAProxy connects, and HAProxy's ports must be in host mode",
                Suspect("api", "TRUST_PROXY"),
            )
    if seen != ours:
        raise SkipCheckError(f"INGRESS_MODE=mesh hides it: the api sees {seen} for {ours}, and ignores a forged header")
    return f"the api sees {seen}, and ignores a forged header"


def _our_address(address: str) -> str:
    """The local address of a connection to `address`: connecting a datagram socket sends nothing."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((address, 443))
        return str(probe.getsockname()[0])
