"""Bringing HAProxy's certificate to every ingress node: haproxy-certs is rolled, HAProxy reads the file again."""

from __future__ import annotations

import hashlib
import socket
import ssl
import time
from collections.abc import Collection
from typing import Any

from openbalena.cluster import state
from openbalena.cluster.convergence import Phase, judge
from openbalena.cluster.engine import Engine
from openbalena.errors import OperationError

# Names in docker-compose.yml's x-swarm.
SERVICE, SECRET, TARGET = "haproxy-certs", "haproxy-chain", "/run/secrets/chain.pem"
# Why an address is not served the new certificate, where it answers.
OTHER = "still serves another certificate"
_INTERVAL = 0.5
_CONNECT = 3.0


def publish(engine: Engine, client: Any, stack: str, chain: bytes) -> bool:
    """Give haproxy-certs `chain` (PEM: certificate, key, CA); whether that changed it. No other service is touched."""
    cluster = state.read(client, stack)
    service = _service(cluster, stack)
    name = f"{stack}_{SECRET}-{hashlib.sha256(chain).hexdigest()[:12]}"
    held = [secret for secret in service.secrets if secret.startswith(f"{stack}_{SECRET}")]
    if held == [name]:
        return False
    if not any(secret.name == name for secret in client.secrets.list(filters={"name": name})):
        client.secrets.create(name=name, data=chain, labels={state.STACK_LABEL: stack})
    engine.docker(
        *("service", "update", "--detach", "--no-resolve-image", "--quiet"),
        *(word for secret in held for word in ("--secret-rm", secret)),
        *("--secret-add", f"source={name},target={TARGET},mode=0400", service.name),
    )
    return True


def wait(client: Any, stack: str, timeout: float) -> None:
    """Wait until haproxy-certs runs as it was asked to; raises OperationError after `timeout` seconds."""
    end = time.monotonic() + timeout
    while True:
        cluster = state.read(client, stack)
        progress = judge(_service(cluster, stack), cluster)
        if progress.phase is Phase.CONVERGED:
            return
        if progress.phase is Phase.FAILED or time.monotonic() >= end:
            raise OperationError(
                f"{SERVICE} does not run with the new certificate ({progress.running} of {progress.wanted} tasks; "
                f"{progress.detail}): see swarm-status and swarm-logs {SERVICE}; HAProxy goes on with the old one"
            )
        time.sleep(_INTERVAL)


def forget(client: Any, stack: str) -> None:
    """Remove the certificates that haproxy-certs no longer uses."""
    used = _service(state.read(client, stack), stack).secrets
    for secret in client.secrets.list(filters={"name": f"{stack}_{SECRET}"}):
        if secret.name.startswith(f"{stack}_{SECRET}-") and secret.name not in used:
            secret.remove()


def not_serving(addresses: Collection[str], host: str, chain: bytes, timeout: float) -> dict[str, str]:
    """Those of `addresses` that do not serve `chain`'s own certificate for `host` after `timeout` seconds, and why."""
    wanted = _first(chain)
    end = time.monotonic() + timeout
    left = dict.fromkeys(addresses, "")
    while True:
        left = {address: why for address in left if (why := _differs(address, host, wanted))}
        if not left or time.monotonic() >= end:
            return left
        time.sleep(_INTERVAL)


def _differs(address: str, host: str, wanted: bytes) -> str:
    # Which certificate is asked, not whether it is trusted: verify does that.
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
    return "" if served == wanted else OTHER


def _first(chain: bytes) -> bytes:
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    text = chain.decode()
    return ssl.PEM_cert_to_DER_cert(text[text.index(begin) : text.index(end) + len(end)])


def _service(cluster: state.Cluster, stack: str) -> state.Service:
    for service in cluster.services:
        if service.short_name == SERVICE:
            return service
    raise OperationError(f"the stack {stack} does not run here: run ./open-balena.sh swarm-up")
