"""Bring HAProxy's certificate to every ingress node of a running cluster, without replacing HAProxy's tasks."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openbalena import settings
from openbalena.base.errors import OperationError
from openbalena.certificates import on_swarm
from openbalena.certificates.cert_manager import CERT_MANAGER_TIMEOUT, renewal_due, take_certificate
from openbalena.operations import settings_sync
from openbalena.operations.endpoints import Endpoints, cluster_endpoints, machine_endpoints, warn_of_unreachable
from openbalena.operations.manager import manager_client
from openbalena.operations.reporter import Reporter
from openbalena.operations.served_certificate import served_certificate
from openbalena.operations.settings_lock import exclusive_lock
from openbalena.operations.workspace import Workspace
from openbalena.pki import consistency, ocsp_records, store
from openbalena.settings import Settings
from openbalena.swarm import certificate_rollout, deploy, deploy_retry, deployed_pki, lock, service_update, state

if TYPE_CHECKING:
    from openbalena.certificates.served import Served
    from openbalena.docker.engine import Engine


@dataclass(frozen=True)
class SyncCertificateOptions:
    """`timeout` is in seconds, for haproxy-certs on all nodes, one after the other; `take_over` is a lock's id."""

    timeout: float
    take_over: str = ""


@dataclass(frozen=True)
class SyncCertificateResult:
    """Who serves the certificate. `changed` is whether the cluster had a different one before.

    `machine` is what HAProxy on this machine serves: then there was nothing to bring anywhere. `failure` is why the
    certificate is not in use everywhere, "" if it is.
    """

    endpoints: Endpoints
    changed: bool
    machine: Served | None
    failure: str


def sync_certificate(
    options: SyncCertificateOptions, workspace: Workspace, reporter: Reporter
) -> SyncCertificateResult:
    """Give a running cluster the certificate of the PKI; on one machine check that HAProxy serves its own.

    Raises OperationError if the cluster does not get it, UsageError for files that do not belong together.
    """
    with exclusive_lock(workspace.project.directory):
        values = settings.read_configured(workspace.project)
        if machine := served_certificate(workspace, values, reporter):
            return _check_machine(machine, workspace, values, reporter)
        with manager_client(workspace) as (engine, client):
            sync = _ClusterSync(engine, client, values, workspace, options, reporter)
            with lock.acquire(client, "pki sync", options.take_over):
                changed = sync.bring()
            return sync.result(changed)


def _check_machine(
    machine: Served, workspace: Workspace, values: Settings, reporter: Reporter
) -> SyncCertificateResult:
    endpoints = machine_endpoints(workspace, values, machine.chain)
    warn_of_unreachable(endpoints, reporter)
    if not endpoints.names:
        reporter.warn(
            f"api.{values['DNS_TLD']} does not resolve here, so the certificate that it serves was not checked"
        )
    others = ", ".join(endpoints.other)
    failure = (
        f"{others}: {certificate_rollout.SERVES_OTHER_CERTIFICATE} than the one in {machine.volume}: see "
        "./open-balena.sh logs haproxy"
    )
    return SyncCertificateResult(endpoints, False, machine, failure if others else "")


@dataclass(frozen=True)
class _ClusterSync:
    engine: Engine
    client: Any
    settings: Settings
    workspace: Workspace
    options: SyncCertificateOptions
    reporter: Reporter

    @property
    def stack(self) -> str:
        return self.settings["STACK_NAME"]

    @property
    def directory(self) -> Path:
        return Path(self.settings["PKI_DIR"])

    @property
    def chain(self) -> bytes:
        return (self.directory / "chain.pem").read_bytes()

    def bring(self) -> bool:
        """Every step under the cluster's lock; whether the cluster had another certificate."""
        settings_sync.require_compatible_settings(self.client, self.workspace.project, self.settings)
        if self.settings.get("ACME_EMAIL"):
            self._fetch_from_cert_manager()
        store.check_files(self.directory, self.settings["DNS_TLD"])
        self._require_trust()
        settings_sync.upload(self.client, self.workspace.project, self.settings)
        self._announce_to_ocsp_responder()
        changed = deploy_retry.retry_transient(self.client, self.stack, self._publish, self.reporter.progress)
        deploy.remove_unused(self.client, self.stack)
        return changed

    def result(self, changed: bool) -> SyncCertificateResult:
        """Who serves the certificate, with a warning for other certificates that need a deploy."""
        endpoints = cluster_endpoints(self.client, self.settings, self.chain)
        warn_of_unreachable(endpoints, self.reporter)
        failure = serving_failure(endpoints)
        if not failure:
            self._warn_of_outdated()
        return SyncCertificateResult(endpoints, changed, None, failure)

    def _fetch_from_cert_manager(self) -> None:
        """Copy the certificate that cert-manager got by ACME into the PKI; have it renewed first if that is due."""
        self.reporter.progress(f"reading cert-manager's certificate (at most {CERT_MANAGER_TIMEOUT:.0f} s)")
        chain = on_swarm.fetch_certificate(self.engine, self.client, self.settings)
        if renewal_due(chain, datetime.now(UTC)):
            self.reporter.progress("the certificate expires within a week: restarting cert-manager, which renews it")
            on_swarm.request_renewal(self.engine, self.client, self.stack)
            old, chain = chain, on_swarm.fetch_certificate(self.engine, self.client, self.settings)
            if chain == old:
                logged = on_swarm.last_words(self.engine, self.client, self.settings)
                raise OperationError(
                    f"cert-manager did not renew its certificate; the old one is still served. {logged}"
                )
        if take_certificate(self.directory, chain, self.settings["DNS_TLD"]):
            self.reporter.progress(f"{self.directory / 'chain.pem'}: copied from cert-manager")

    def _require_trust(self) -> None:
        """Raise OperationError if the services trust other CAs than the certificate's, and would reject it."""
        trusted = certificate_rollout.deployed_root_ca(state.read_cluster(self.client, self.stack))
        if trusted is None:
            return
        # Without a private CA the stack trusts public ones.
        if consistency.chains_to(self.chain, b64decode(trusted)) if trusted else not store.serves_own(self.directory):
            return
        raise OperationError(
            f"{self.directory / 'chain.pem'}: the services do not trust the CA that issued this certificate: run "
            "./open-balena.sh swarm-up, which deploys both. Nothing was changed in the cluster"
        )

    def _announce_to_ocsp_responder(self) -> None:
        """Have balena-ca's OCSP responder know the certificate before clients see it.

        Only a warning if that fails: an expired certificate would cut off everyone, one without an OCSP answer only
        clients that require one.
        """
        if not store.serves_own(self.directory):
            return

        def announce() -> None:
            if certificate_rollout.announce_certificate(
                self.client, self.stack, ocsp_records.records_sql(self.directory)
            ):
                self.reporter.progress("waiting for balena-ca, so that its OCSP responder knows the certificate …")
            service_update.wait_until_converged(
                self.client, self.stack, certificate_rollout.AUTHORITY, self.options.timeout
            )

        try:
            deploy_retry.retry_transient(self.client, self.stack, announce, self.reporter.progress)
        except OperationError as error:
            self.reporter.warn(
                "the OCSP responder does not know the certificate yet, and clients that require its response reject "
                f"it: run ./open-balena.sh swarm-up ({error})"
            )

    def _publish(self) -> bool:
        changed = certificate_rollout.publish_certificate(self.client, self.stack, self.chain)
        if changed:
            self.reporter.progress("waiting for haproxy-certs on every ingress node …")
        service_update.wait_until_converged(self.client, self.stack, certificate_rollout.SERVICE, self.options.timeout)
        return changed

    def _warn_of_outdated(self) -> None:
        """Warn of other renewed certificates, which need a deploy: their services' tasks must be replaced."""
        files = {key: (self.directory / file).read_bytes() for key, file in deployed_pki.FILES.items()}
        if outdated := deployed_pki.outdated_contents(state.read_cluster(self.client, self.stack), files):
            names = ", ".join(deployed_pki.FILES[key] for key in outdated)
            self.reporter.warn(f"the services still use an older {names}: run ./open-balena.sh swarm-up to roll it out")


def serving_failure(endpoints: Endpoints) -> str:
    """Why the ingress nodes do not all serve the certificate, "" if none serves a different one."""
    others = ", ".join(endpoints.names[address] for address in endpoints.other)
    return (
        f"{others}: {certificate_rollout.SERVES_OTHER_CERTIFICATE}: see ./open-balena.sh swarm-logs haproxy"
        if others
        else ""
    )
