"""The ACME certificate that cert-manager obtains (see cert_manager.py), in the volume on the node it runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openbalena.base.errors import OperationError
from openbalena.base.names import full_name
from openbalena.certificates import CERT_MANAGER, CHAIN, READY, cert_manager
from openbalena.docker import logs
from openbalena.swarm import encrypted_read, job, service_update, state

if TYPE_CHECKING:
    from openbalena.docker.engine import Engine
    from openbalena.settings import Settings

# Succeeds once cert-manager is done and has a public certificate: the symbolic link then points into /certs/public.
_DONE = f"""waited=0 limit={cert_manager.CERT_MANAGER_TIMEOUT:.0f}
until [ -e {READY} ]; do
    waited=$((waited + 1))
    [ "$waited" -lt "$limit" ] || {{ echo "cert-manager did not finish within $limit s"; exit 1; }}
    sleep 1
done
case $(readlink -f {CHAIN}) in
    */public/*) ;;
    *) echo "cert-manager could not obtain an ACME certificate and has given up"; exit 1 ;;
esac"""
# Seconds for a job in addition to what it waits for, and until the new task of cert-manager is healthy.
_JOB_TIMEOUT, _UPDATE_TIMEOUT = 60.0, 180.0


def fetch_certificate(engine: Engine, client: Any, settings: Settings) -> bytes:
    """The chain (PEM: certificate, key, CA) once cert-manager is done.

    Raises OperationError with its last log lines if it is not running, does not finish within
    cert_manager.CERT_MANAGER_TIMEOUT seconds, or obtains no certificate.
    """
    stack = settings["STACK_NAME"]
    node, image = encrypted_read.pick_node_and_image(state.read_cluster(client, stack), CERT_MANAGER)
    completion = job.Job("acme", node, image, _DONE, mounts=[_mount(stack)])
    outcome = job.run_job(engine, client, [completion], cert_manager.CERT_MANAGER_TIMEOUT + _JOB_TIMEOUT)[0]
    if not outcome.ok:
        raise OperationError(f"{job.error_text(outcome)}. {last_words(engine, client, settings)}")
    return encrypted_read.read_file(engine, client, node=node, image=image, file=CHAIN, mounts=[_mount(stack)])


def request_renewal(engine: Engine, client: Any, stack: str) -> None:
    """Restart cert-manager, which renews the certificate when it starts; `fetch` then waits for the result."""
    node, image = encrypted_read.pick_node_and_image(state.read_cluster(client, stack), CERT_MANAGER)
    # cert-manager removes the file itself, but only some time after its task was replaced.
    removal = job.Job("acme", node, image, f"rm -f {READY}", mounts=[_mount(stack, read_only=False)])
    outcome = job.run_job(engine, client, [removal], _JOB_TIMEOUT)[0]
    if not outcome.ok:
        raise OperationError(f"cannot remove {READY} of {CERT_MANAGER}: {job.error_text(outcome)}")
    arguments = ["service", "update", "--force", "--detach=false", "--quiet", full_name(stack, CERT_MANAGER)]
    engine.docker(*arguments, timeout=_UPDATE_TIMEOUT)


def last_words(engine: Engine, client: Any, settings: Settings) -> str:
    """The last log lines of cert-manager, secrets masked, and what to do."""
    cluster = state.read_cluster(client, settings["STACK_NAME"])
    service = service_update.find_service(cluster, CERT_MANAGER)
    newest = max(cluster.tasks_of(service) if service else (), key=lambda task: task.created, default=None)
    lines = logs.last_lines(engine, newest.id, cert_manager.READ) if newest else []
    return cert_manager.last_words(map(settings.masked, lines), "./open-balena.sh pki sync again")


def _mount(stack: str, *, read_only: bool = True) -> job.Mount:
    return job.Mount(full_name(stack, "certs-data"), "/certs", stack, read_only)
