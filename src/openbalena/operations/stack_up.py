"""stack up: deploys any Compose project, or a rendered directory, and waits until its services run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from openbalena.base.errors import OperationError
from openbalena.compose import Located
from openbalena.operations.manager import manager_client
from openbalena.operations.rendered_stack import Rendered, rendered
from openbalena.operations.reporter import Reporter
from openbalena.operations.stack_diff import document_changes, rendered_document
from openbalena.operations.submit_and_wait import Submission
from openbalena.operations.workspace import Workspace
from openbalena.stack.compiler import node_labels
from openbalena.swarm import deploy, lock, releases, state

# Their tasks are to end: how long that takes says nothing about the deploy.
_JOBS = ("replicated-job", "global-job")


@dataclass(frozen=True)
class UpOptions:
    """`timeout` is in seconds, for each wait. `take_over` is the id of a stale lock."""

    timeout: float
    wait: bool = True
    take_over: str = ""


@dataclass(frozen=True)
class UpResult:
    """`converged` is the number of services that run, None if they were not waited for."""

    stack: str
    converged: int | None


def deploy_any(source: Located | Rendered, options: UpOptions, workspace: Workspace, reporter: Reporter) -> UpResult:
    """Deploy the project or the rendered stack, with versioned secrets and configs, and remove unused versions.

    Raises UsageError if it cannot be compiled, and OperationError, before anything has changed, if the stack is
    openBalena's or needs labels that no node has; afterwards with the errors of the services that do not run.
    """
    with manager_client(workspace) as (engine, client), rendered(source) as found:
        name, document = found.name, rendered_document(engine, found.directory, found.name)
        if releases.read_releases(client, name):
            raise OperationError(f"{name} is a stack that swarm-up deploys: choose another name with -p NAME")
        _require_labels(client, document, name)
        agreed = _confirm_changes(client, document, name, reporter)
        with lock.acquire(client, "stack up", options.take_over):
            _require_agreed(client, document, name, agreed)
            reporter.progress(f"deploying {name} …")
            submission = Submission(engine, client, name, found.directory, True, options.timeout, reporter)
            converged = _submit(submission, document, wait=options.wait)
            if converged is not None:
                for unused in deploy.remove_unused(client, name):
                    reporter.progress(f"removed {unused} (no longer in use)")
            return UpResult(name, converged)


def _require_labels(client: Any, document: Mapping[str, Any], name: str) -> None:
    """Raise OperationError if a task could not be placed, as no node has a label that it requires."""
    nodes = state.read_cluster(client, name).nodes
    missing = [
        f"docker node update --label-add {label}={value} NODE"
        for label, value in sorted(node_labels(document["services"]).items())
        if not any(node.labels.get(label) == value for node in nodes)
    ]
    if missing:
        raise OperationError("nothing was deployed: no node has these labels, set each:\n  " + "\n  ".join(missing))


def _confirm_changes(client: Any, document: Mapping[str, Any], name: str, reporter: Reporter) -> list[str]:
    """Say what changes; returns the services to be removed. Raises OperationError unless the user agrees to that."""
    changes = document_changes(client, document, name)
    for service, found in changes.items():
        reporter.progress(f"{service}: {'; '.join(map(str, found))}")
    removed = _removed(changes, document)
    if removed and not reporter.confirm(
        f"The stack {name} also has {', '.join(removed)}, which the project does not. Remove the "
        f"service{'s' * (len(removed) != 1)}? (Volumes are kept.)"
    ):
        raise OperationError("nothing was deployed")
    return removed


def _require_agreed(client: Any, document: Mapping[str, Any], name: str, agreed: Collection[str]) -> None:
    """Raise OperationError if a service would be removed that was not asked about: others may have deployed since."""
    removed = _removed(document_changes(client, document, name), document)
    if more := [service for service in removed if service not in agreed]:
        raise OperationError(
            f"nothing was deployed: the stack {name} now also has {', '.join(more)}: run the command again, which asks "
            "before that is removed"
        )


def _removed(services: Iterable[str], document: Mapping[str, Any]) -> list[str]:
    return [service for service in services if service not in document["services"]]


def _submit(submission: Submission, document: Mapping[str, Any], *, wait: bool) -> int | None:
    """Returns the number of converged services, None without `wait`. Jobs are not waited for."""
    services = document["services"]
    jobs = [name for name, body in services.items() if body.get("deploy", {}).get("mode") in _JOBS]
    if not wait or len(jobs) == len(services):
        submission.submit()
        return 0 if wait else None
    stopped = (
        f"Stopped waiting. Swarm continues to deploy {submission.stack}: docker stack ps {submission.stack} shows its "
        "progress"
    )
    return len(submission.submit_and_wait(stopped, unwatched=jobs).progress)
