"""secrets rotate CA: the private CA is replaced, one phase further with each call; swarm-up brings it there."""

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openbalena import settings
from openbalena.cli import pki_sync
from openbalena.cli.context import Context
from openbalena.errors import OperationError, UsageError
from openbalena.invocation import invocation
from openbalena.operations.settings_lock import exclusive_lock
from openbalena.settings import Settings

if TYPE_CHECKING:
    from openbalena.cluster.state import Cluster

# How long a phase should last where nobody knows of every device whether it was switched on and fetched what it trusts.
ADVISED_DAYS = 30

# By the phase that ends: what the next one does.
_QUESTIONS = {
    0: "Make a new CA, which services and devices will trust beside the old one?",
    1: "Let the new CA issue the certificates? Clients that know the old root alone go on by a certificate that it "
    "gives the new one.",
    2: "Trust the old CA no longer? CLIENTS AND DEVICES THAT DO NOT TRUST THE NEW ROOT YET ARE LOCKED OUT by the next "
    "swarm-up.",
    3: "Delete the old CA's key? Nothing can be issued by it again.",
}
_BACK = "Trust the old CA again, beside the new one (phase 2)?"
# By the phase that begins: what has to happen in it.
_TODO = {
    0: "The rotation has ended. The old CA's files are gone here; swarm-up takes them out of the cluster's copy.",
    1: "Then give every device and every machine that trusts the CA the new root too, and wait until all have it: "
    f"{ADVISED_DAYS} days where you cannot tell (docs/certificates.md says how). Then secrets rotate CA again.",
    2: "Certificates of the old CA that you issued yourself have to be replaced now. Wait until nothing trusts the old "
    f"root alone: {ADVISED_DAYS} days where you cannot tell. Then secrets rotate CA again.",
    3: "Devices that are missed then come back with secrets rotate CA --back and swarm-up. When none is missed, run "
    "secrets rotate CA once more: it deletes the old CA's key.",
}
# The config of docker-compose.yml that came with a phase.
_CAME_WITH = {1: "ca-bundle", 2: "ca-certificate", 3: "ca-bundle"}


def run(args: argparse.Namespace, context: Context) -> int:
    """Exit code 1 where the phase before has not reached the cluster, or the user does not agree."""
    from openbalena.secrets import replace
    from openbalena.secrets.check import problems

    with exclusive_lock(context.project.directory):
        values = settings.configured(context.project)
        directory = Path(values["PKI_DIR"])
        if replace.pending(directory):
            replace.finish(directory)
            context.console.say("The step that was cut off is complete now.")
            _tell(context, directory)
            return 0
        # An old CA that has ended meanwhile is what the next phase helps against.
        if wrong := problems(directory, values["DNS_TLD"], ended=False):
            raise UsageError("\n".join(wrong))
        return _advance(args, context, values, directory)


def _advance(args: argparse.Namespace, context: Context, values: Settings, directory: Path) -> int:
    from openbalena.cluster import carried, engine, lock
    from openbalena.secrets import replace
    from openbalena.secrets.phases import Phase, phase

    console, current = context.console, engine.current(context.lab)
    with current.client() as client:
        cluster = _require_deployed(client, context, values, directory)
        now = phase(directory)
        if args.back and now is not Phase.DROPPED:
            raise UsageError(f"secrets rotate CA --back: {now.text}, and only phase 3 can be taken back")
        if now is Phase.ISSUING:
            pki_sync.report(context, client, values, (directory / "chain.pem").read_bytes())
        question = _BACK if args.back else _QUESTIONS[now]
        if now:
            days = (datetime.now(UTC) - carried.since(client, cluster, _CAME_WITH[now])).days
            if args.yes and not args.back:
                require_age(now, days, args.after_days)
            question = f"Phase {now} has lasted {days} days; {ADVISED_DAYS} are advised. {question}"
        if not console.confirm(question, yes=args.yes):
            console.say("Nothing was changed.")
            return 1
        with lock.held(client, "secrets rotate CA", args.take_over):
            # Another machine may have deployed while the question was open.
            _require_deployed(client, context, values, directory)
            replace.advance(directory, values["DNS_TLD"], back=args.back)
    _tell(context, directory, cluster)
    return 0


def require_age(phase: int, days: int, least: int) -> None:
    """Raise OperationError where `phase` has lasted fewer than `least` days: nobody says that all have the new root."""
    if days < least:
        raise OperationError(
            f"nothing was changed: phase {phase} has lasted {days} days, and with --yes the next one begins after "
            f"{least}, since devices that were switched off meanwhile would be locked out: run it then, at a terminal "
            f"without --yes, or with --after-days {max(days, 0)} where you know that none is missing"
        )


def _running(client: Any, stack: str) -> "Cluster":
    """The cluster, where `stack` runs on it: there alone services and devices can be told of a second CA."""
    from openbalena.cluster import state

    cluster = state.read(client, stack) if client.info()["Swarm"].get("ControlAvailable") else None
    if cluster is None or not cluster.services:
        raise UsageError(
            f"secrets rotate CA: the stack {stack} runs on no swarm that this engine is a manager of. On one machine "
            "(up) balena-ca's volume holds the CA, and its services know one at a time: it cannot be rotated there. "
            "Before the first deploy delete the PKI and run config"
        )
    return cluster


def _require_deployed(client: Any, context: Context, values: Settings, directory: Path) -> "Cluster":
    """The cluster, where all its services run with this phase's files. Raises OperationError where one does not."""
    from openbalena.cluster import carried
    from openbalena.operations import settings_sync

    ours = invocation(context.project, lab=context.lab)
    cluster = _running(client, values["STACK_NAME"])
    settings_sync.check(client, context.project, values)
    if other := carried.stale(cluster, _contents(directory)):
        names = ", ".join(carried.FILES[key] for key in other)
        raise OperationError(
            f"nothing was changed: the cluster has another {names} than is here, and the CA's next phase must not come "
            f"before this one is deployed: run {ours} swarm-up first"
        )
    if unsettled := carried.unsettled(cluster):
        raise OperationError(
            f"nothing was changed: {', '.join(unsettled)}: not all tasks run as they were deployed, so it is not known "
            f"whether all trust what they should: see {ours} swarm-status"
        )
    return cluster


def _contents(directory: Path) -> dict[str, bytes]:
    from openbalena.cluster import carried

    return {key: (directory / file).read_bytes() for key, file in carried.FILES.items()}


def _tell(context: Context, directory: Path, cluster: "Cluster | None" = None) -> None:
    from openbalena.cluster import carried
    from openbalena.secrets.phases import phase

    now, ours = phase(directory), invocation(context.project, lab=context.lab)
    services = (
        sorted({s for held in carried.stale(cluster, _contents(directory)).values() for s in held}) if cluster else []
    )
    rolls = f", which rolls {', '.join(services)}" if services else ""
    context.console.say(f"{directory}: {now.text}")
    context.console.say(f"Next: {ours} swarm-up{rolls}")
    context.console.say(_TODO[now])
