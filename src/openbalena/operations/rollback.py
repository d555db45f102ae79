"""swarm-rollback: deploys an earlier release again, with its settings, secrets, images and definitions."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from openbalena.base.errors import OperationError, UsageError
from openbalena.operations import deployment as deployments
from openbalena.operations.deploy_checks import plan_deploy, require_none_fatal
from openbalena.operations.deployment import Deployment
from openbalena.operations.hooks import PRE_DEPLOY, hook_values, run_hook
from openbalena.operations.manager import manager_client
from openbalena.operations.reporter import Reporter
from openbalena.operations.rollout import Rollout
from openbalena.operations.schema_check import SchemaCheck
from openbalena.operations.settings_lock import shared_lock
from openbalena.operations.workspace import Workspace
from openbalena.storage import record
from openbalena.swarm import irreversible, lock, preflight, releases, state
from openbalena.swarm.api_schema import API, Answer
from openbalena.swarm.releases import Release


@dataclass(frozen=True)
class RollbackOptions:
    """`release` is a number, None for the last successful one before the current; `service` limits it to one service.

    `timeout` is in seconds, for each wait. `take_over` is the id of a stale lock.
    """

    release: int | None
    service: str
    timeout: float
    take_over: str = ""


@dataclass(frozen=True)
class RollbackResult:
    """`release` is the one that runs again, `recorded` the number under which this rollback is recorded."""

    stack: str
    release: Release
    recorded: int | None


def roll_back(options: RollbackOptions, workspace: Workspace, reporter: Reporter) -> RollbackResult:
    """Deploy an earlier release. The settings of this machine are unchanged: the next swarm-up deploys them.

    Raises OperationError, before anything has changed, if the release is not known or cannot be deployed any more;
    afterwards with the errors of the services that do not run.
    """
    with shared_lock(workspace.project.directory):
        deployment = deployments.load(workspace.project, lab=workspace.lab)
        stack = deployment.settings["STACK_NAME"]
        with manager_client(workspace) as (engine, client):
            known = releases.read_releases(client, stack)
            target = choose_release(known, options.release, options.service)
            document = (
                releases.with_service_of(known[0], target, options.service) if options.service else target.deployable()
            )
            cluster = state.read_cluster(client, stack)
            reasons = irreversible.reasons(
                running={service.short_name: service for service in cluster.services},
                document=document,
                login=record.read_registry(client, stack).login,
                missing=_missing(client, document),
            )
            if reasons:
                raise OperationError(f"release {target.number} cannot be deployed:\n  " + "\n  ".join(reasons))
            deployment = _of_release(deployment, document)
            local = frozenset(body["image"] for body in document["services"].values() if "@" not in body["image"])
            plan = plan_deploy(engine, client, deployment, cluster, local)
            require_none_fatal(preflight.preflight_findings(plan, cluster), reporter)
            command = f"swarm-rollback {target.number} {options.service}".strip()
            values = hook_values(deployment.settings, command, "")
            schema = SchemaCheck(engine, client, deployment.settings, reporter)
            with _locked(schema, options.take_over, document, target, known):
                run_hook(workspace.project, PRE_DEPLOY, values, reporter)
                rollout = Rollout(
                    project=workspace.project,
                    reporter=reporter,
                    engine=engine,
                    client=client,
                    deployment=deployment,
                    resolve=False,
                    timeout=options.timeout,
                    command=" ".join(
                        ["swarm-rollback", str(target.number), *([options.service] * bool(options.service))]
                    ),
                )
                return RollbackResult(stack, target, rollout.run(wait=True).release)


@contextmanager
def _locked(
    schema: SchemaCheck, take_over: str, document: Mapping[str, Any], target: Release, known: Sequence[Release]
) -> Iterator[None]:
    """Hold the cluster's lock, once the api of `document` runs on the database's schema, or the user agrees if that is
    unknown.

    That is asked without the lock, which others wait for; afterwards everything is checked again. Raises OperationError
    if it does not run, or if somebody has deployed after `known` was read.
    """
    agreed = ""
    while True:
        with lock.acquire(schema.client, "swarm-rollback", take_over):
            for newest in releases.read_releases(schema.client, schema.settings["STACK_NAME"])[:1]:
                if (newest.number, newest.outcome) not in [(each.number, each.outcome) for each in known]:
                    raise OperationError(
                        f"nothing was deployed: {newest.owner} has run {newest.command} meanwhile (release "
                        f"{newest.number}): run swarm-rollback again"
                    )
            verdict = schema.verdict(document, known)
            schema.require(verdict, f"release {target.number}")
            unknown = verdict.reason if verdict and verdict.answer is Answer.UNKNOWN else ""
            if unknown in ("", agreed):
                yield
                return
        if not schema.reporter.confirm(f"{API}: it may not run on the database's schema: {unknown}. Deploy it anyway?"):
            raise OperationError("nothing was deployed")
        agreed = unknown


def choose_release(known: Sequence[Release], number: int | None, service: str) -> Release:
    """The release to deploy. `known` are all, the newest first. Raises UsageError if there is none."""
    if not known:
        raise OperationError("this stack has no releases yet: every swarm-up records one")
    if number is None:
        target = releases.last_good(known)
        if target is None:
            raise OperationError("there is no earlier release that succeeded (swarm-history lists all)")
    else:
        found = [each for each in known if each.number == number]
        if not found:
            raise UsageError(f"there is no release {number}: the last ones are {', '.join(_numbers(known))}")
        (target,) = found
    if service and service not in target.document["services"]:
        names = ", ".join(sorted(target.document["services"]))
        raise UsageError(f"release {target.number} has no service {service}: it has {names}")
    return target


def _numbers(known: Sequence[Release]) -> Iterator[str]:
    return (str(each.number) for each in known[:5])


def _of_release(deployment: Deployment, document: Mapping[str, Any]) -> Deployment:
    """The deployment with the definitions of a release, whose secrets and configs are in the swarm."""
    compiled = replace(deployment.compiled, document=document, secret_files={}, config_files={})
    return replace(deployment, compiled=compiled)


def _missing(client: Any, document: Mapping[str, Any]) -> Collection[str]:
    """The secrets and configs of the document that the swarm no longer has."""
    there = {item.name for collection in (client.secrets, client.configs) for item in collection.list()}
    wanted = {name for kind in ("secrets", "configs") for name in document.get(kind) or {}}
    return sorted(wanted - there)
