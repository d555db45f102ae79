"""Distributing HAProxy's certificate to every ingress node: haproxy-certs is updated, HAProxy reloads the file.

balena-ca gets the certificate's record first, so that its OCSP responder knows the certificate when clients see it.
"""

from __future__ import annotations

import operator
import socket
import ssl
from collections.abc import Collection
from typing import Any

from openbalena.base.errors import OperationError
from openbalena.base.names import object_name
from openbalena.base.polling import poll
from openbalena.swarm import object_names, service_update, state

# Names in docker-compose.yml's x-swarm.
SERVICE, SECRET = "haproxy-certs", "haproxy-chain"
AUTHORITY, ISSUED = "balena-ca", "ca-issued"
# The reason for an address that answers, but not with the new certificate.
SERVES_OTHER_CERTIFICATE = "still serves a different certificate"
_INTERVAL = 0.5
_CONNECT = 3.0


def publish_certificate(client: Any, stack: str, chain: bytes) -> bool:
    """Deploy `chain` (PEM: certificate, key, CA) to haproxy-certs alone; returns whether that changed the service.

    Raises OperationError if the stack is not running.
    """
    service = service_update.find_service(state.read_cluster(client, stack), SERVICE)
    if service is None:
        raise OperationError(
            f"the stack {stack} is not running here: run ./open-balena.sh swarm-up. On one machine (up) there is "
            "nothing to distribute: cert-manager renews HAProxy's certificate when it starts"
        )
    return _replaced(client, service, SECRET, chain)


def announce_certificate(client: Any, stack: str, rows: bytes) -> bool:
    """Deploy `rows` (SQL of pki.ocsp_records) for the database of balena-ca; returns whether that changed the service.

    Raises OperationError if the service has no such config, because an earlier version of this tool deployed it.
    """
    service = service_update.find_service(state.read_cluster(client, stack), AUTHORITY)
    if service is None or not object_names.used_version(service, ISSUED):
        raise OperationError(f"{AUTHORITY} has no config {ISSUED} yet")
    return _replaced(client, service, ISSUED, rows)


def _replaced(client: Any, service: state.SwarmService, key: str, content: bytes) -> bool:
    new, current = object_name(service.stack, key, content), object_names.used_version(service, key)
    if current != new:
        service_update.replace_secret(client, service, current, new, content)
    return current != new


def deployed_root_ca(cluster: state.Cluster) -> str | None:
    """The CA that the running services trust (ROOT_CA, base64 of PEM); "" for public CAs, None without an api."""
    api = service_update.find_service(cluster, "api")
    if api is None:
        return None
    lines = (line.partition("=") for line in api.template["ContainerSpec"].get("Env") or [])
    return next((value for name, _, value in lines if name == "ROOT_CA"), "")


def tasks_not_serving(addresses: Collection[str], host: str, chain: bytes, timeout: float) -> dict[str, str]:
    """Those of `addresses` that do not serve the leaf of `chain` for `host` after `timeout` seconds, and why."""
    expected = _first(chain)
    left = dict.fromkeys(addresses, "")

    def still_wrong() -> dict[str, str]:
        nonlocal left
        left = {address: reason for address in left if (reason := _differs(address, host, expected))}
        return left

    return poll(still_wrong, operator.not_, timeout, _INTERVAL)


def _differs(address: str, host: str, expected: bytes) -> str:
    # Only compares certificates; `verify` checks whether they are trusted.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((address, 443), _CONNECT) as connection,
            context.wrap_socket(connection, server_hostname=host) as secure,
        ):
            served = secure.getpeercert(binary_form=True)
    except OSError as error:
        return str(error)
    return "" if served == expected else SERVES_OTHER_CERTIFICATE


def _first(chain: bytes) -> bytes:
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    text = chain.decode()
    return ssl.PEM_cert_to_DER_cert(text[text.index(begin) : text.index(end) + len(end)])
