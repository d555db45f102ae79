"""Reading a secret or a private file from a volume: a job prints it, encrypted for this process only.

It is encrypted because the node's engine stores a task's output until the task is removed, and a manager forwards it.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from openbalena.base.errors import OperationError
from openbalena.docker.engine import Engine
from openbalena.swarm import job, service_update
from openbalena.swarm.state import Cluster

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import rsa

# Seconds for the task to start, read and end.
_TIMEOUT = 60.0
# RFC 5652. Lines are shorter than 16 KiB, at which the engine's log driver would split them.
_SCRIPT = """umask 077
cat >/tmp/recipient.pem <<'END'
{recipient}END
openssl cms -encrypt -binary -aes256 -outform DER -in {file} -out /tmp/sealed /tmp/recipient.pem &&
base64 -w 12000 /tmp/sealed"""


def read_file(
    engine: Engine,
    client: Any,
    *,
    node: str,
    image: str,
    file: str,
    secrets: Sequence[str] = (),
    mounts: Sequence[job.Mount] = (),
) -> bytes:
    """The content of `file` in a task of `image` (which needs openssl) on the node with id `node`.

    `secrets` are mounted as /run/secrets/NAME. Raises OperationError if the task cannot read the file.
    """
    recipient = new_recipient()
    reader = job.Job("read", node, image, recipient.script(file), mounts=mounts, secrets=secrets)
    (outcome,) = job.run_job(engine, client, [reader], _TIMEOUT)
    if not outcome.ok:
        raise OperationError(f"{file} cannot be read: {job.error_text(outcome)}")
    return recipient.content(outcome.lines)


@dataclass(frozen=True)
class Recipient:
    """Who can read what a script prints: this process, for one file."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey

    def script(self, file: str) -> str:
        """The script, which needs openssl, that prints `file` encrypted."""
        return _SCRIPT.format(recipient=_pem(self.certificate), file=file)

    def content(self, lines: Sequence[str]) -> bytes:
        """What the file had. Raises OperationError if the lines are not complete."""
        return _decrypt("".join(lines), self.certificate, self.key)


def new_recipient() -> Recipient:
    """One with a new key."""
    return Recipient(*_ephemeral_certificate())


def pick_node_and_image(cluster: Cluster, service: str) -> tuple[str, str]:
    """The id of a node with a running task of `service`, preferably a manager, and the image of the service.

    Raises OperationError if no task is running.
    """
    if running := service_update.find_service(cluster, service):
        nodes = {t.node_id for t in cluster.tasks_of(running) if t.wanted and t.state == "running"}
        usable = [node for node in cluster.nodes if node.id in nodes and node.usable]
        if usable:
            return min(usable, key=lambda node: node.role != "manager").id, running.image
    raise OperationError(f"no task of {service} is running, but its image and node are needed: see swarm-status")


def _pem(certificate: x509.Certificate) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM).decode()


def _ephemeral_certificate() -> tuple[x509.Certificate, rsa.RSAPrivateKey]:
    """A key for this call only, and a certificate for it, which openssl needs to encrypt."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.hashes import SHA256

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "openbalena-read")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
    return builder.sign(key, SHA256()), key


def _decrypt(text: str, certificate: x509.Certificate, key: rsa.RSAPrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import pkcs7

    try:
        return pkcs7.pkcs7_decrypt_der(base64.b64decode(text, validate=True), certificate, key, [])
    except ValueError as error:
        raise OperationError(f"cannot decrypt the output of the task: {error}") from None
