"""cert-manager's certificate by ACME (secrets/acme.py says how), in the volume of the node that it runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openbalena.cluster import job, logs, one_service, sealed, state
from openbalena.errors import OperationError
from openbalena.secrets import acme

if TYPE_CHECKING:
    from openbalena.cluster.engine import Engine
    from openbalena.settings import Settings

_SERVICE = "cert-manager"
_CHAIN = "/certs/export/chain.pem"
# Ends well when cert-manager is done and has a public certificate: its link then leads into /certs/public.
_DONE = f"""waited=0
until [ -e /certs/.ready ]; do
    waited=$((waited + 1))
    [ "$waited" -lt {acme.BOUND:.0f} ] || {{ echo "cert-manager was not done within {acme.BOUND:.0f} s"; exit 1; }}
    sleep 1
done
case $(readlink -f {_CHAIN}) in
    */public/*) ;;
    *) echo "cert-manager got no certificate by ACME and has given up"; exit 1 ;;
esac"""
# Seconds for a job beside what it waits for, and until another task of cert-manager is healthy.
_JOB, _RUNS = 60.0, 180.0


def fetch(engine: Engine, client: Any, settings: Settings) -> bytes:
    """The chain (PEM: certificate, key, CA) once cert-manager is done.

    Raises OperationError where it does not run, is not done within acme.BOUND seconds, or got none: with its words.
    """
    stack = settings["STACK_NAME"]
    node, image = sealed.reader(state.read(client, stack), _SERVICE)
    done = job.Job("acme", node, image, _DONE, mounts=[_mount(stack)])
    outcome = job.run(engine, client, [done], acme.BOUND + _JOB)[0]
    if not outcome.ok:
        raise OperationError(f"{job.failure(outcome)}. {last_words(engine, client, settings)}")
    return sealed.read(engine, client, node=node, image=image, file=_CHAIN, mounts=[_mount(stack)])


def again(engine: Engine, client: Any, stack: str) -> None:
    """Have cert-manager start anew, which is when it renews; `fetch` then waits for what comes of it."""
    node, image = sealed.reader(state.read(client, stack), _SERVICE)
    # It removes the file itself, but only some time after its task was replaced.
    forget = job.Job("acme", node, image, "rm -f /certs/.ready", mounts=[_mount(stack, read_only=False)])
    outcome = job.run(engine, client, [forget], _JOB)[0]
    if not outcome.ok:
        raise OperationError(f"/certs/.ready of {_SERVICE} cannot be removed: {job.failure(outcome)}")
    words = ["service", "update", "--force", "--detach=false", "--quiet", f"{stack}_{_SERVICE}"]
    engine.docker(*words, timeout=_RUNS)


def last_words(engine: Engine, client: Any, settings: Settings) -> str:
    """What cert-manager logged last, secrets masked, and what to do then."""
    cluster = state.read(client, settings["STACK_NAME"])
    service = one_service.find(cluster, _SERVICE)
    newest = max(cluster.tasks_of(service) if service else (), key=lambda task: task.created, default=None)
    lines = logs.last_lines(engine, newest.id, acme.READ) if newest else []
    return acme.last_words(map(settings.masked, lines), "./open-balena.sh pki sync again")


def _mount(stack: str, *, read_only: bool = True) -> job.Mount:
    return job.Mount(f"{stack}_certs-data", "/certs", stack, read_only)
