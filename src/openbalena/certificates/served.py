"""The certificate that HAProxy serves on one machine: from a volume, whereas pki/chain.pem is for clusters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from openbalena.base.names import full_name
from openbalena.base.project import Project
from openbalena.certificates import CHAIN
from openbalena.docker.engine import Engine
from openbalena.machine import volumes
from openbalena.machine.containers import read_containers
from openbalena.machine.deployment import compose_project_name
from openbalena.pki.expiry import CertificateInfo, held_in
from openbalena.pki.keys import certificate_pem, certificates_in
from openbalena.settings import Settings


@dataclass(frozen=True)
class Served:
    """`held` is the certificate, `chain` the same with its issuers (PEM), `volume` the volume that contains it.

    `target` is the target of the link in the volume, "" if it is a regular file (see machine_volume.py).
    """

    volume: str
    target: str
    held: CertificateInfo
    chain: bytes

    @property
    def private(self) -> bool:
        """Whether cert-manager had the deployment's own CA issue it."""
        return "/private/" in self.target

    @property
    def public(self) -> bool:
        """Whether cert-manager got it by ACME."""
        return "/public/" in self.target


def find_served_certificate(project: Project, settings: Settings, engine: Engine) -> Served | None:
    """The certificate that the deployment's HAProxy reads; None if HAProxy is not running.

    Raises OperationError if the engine does not answer, UsageError if the file is damaged.
    """
    project_name = compose_project_name(project, settings)
    with engine.client() as client:
        running = (each for each in read_containers(client, project_name) if each.state == "running")
        haproxy = next((each for each in running if each.service == "haproxy"), None)
        entry = volumes.stat_file(client, haproxy.id, CHAIN) if haproxy else None
        if haproxy is None or entry is None:
            return None
        path = entry.target or CHAIN
        certificates = certificates_in(volumes.directory_content(client, haproxy.id, path), path)
    chain = b"".join(map(certificate_pem, certificates))
    return Served(full_name(project_name, "certs-data"), entry.target, held_in(Path(CHAIN), certificates), chain)
