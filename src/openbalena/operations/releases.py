"""Recording a deploy as a release, and reading the releases of a stack."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from openbalena import settings
from openbalena.base.errors import OpenBalenaError
from openbalena.base.owner import current_owner
from openbalena.operations.manager import manager_client
from openbalena.operations.workspace import Workspace
from openbalena.stack.diff import Change
from openbalena.swarm import releases, state
from openbalena.swarm.api_schema import API
from openbalena.swarm.releases import Outcome, Release


def list_releases(workspace: Workspace) -> list[Release]:
    """The deployment's releases, the newest first. Raises OperationError as manager_client does."""
    stack = settings.read(workspace.project)["STACK_NAME"]
    with manager_client(workspace) as (_, client):
        return releases.read_releases(client, stack)


def next_release(
    known: Sequence[Release],
    command: str,
    message: str,
    changes: Mapping[str, Sequence[Change]],
    document: Mapping[str, Any],
) -> Release | None:
    """The release that a deploy with these changes makes; None if it only confirms the newest one.

    `known` are the releases so far, the newest first; `document` is the stack as `docker stack config` prints it.
    """
    newest = known[0] if known else None
    if newest and newest.outcome is Outcome.SUCCEEDED and not changes and not message:
        return None
    return Release(
        number=newest.number + 1 if newest else 1,
        owner=current_owner(),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        message=message,
        changes={name: [str(change) for change in found] for name, found in changes.items()},
        document=releases.external(document),
    )


@contextmanager
def recorded(
    client: Any,
    stack: str,
    release: Release | None,
    *,
    wait: bool,
    migrations_of: Callable[[str], Sequence[str] | None],
) -> Iterator[None]:
    """Record that `release` begins, and how it ends: with `wait` the services have been waited for.

    `migrations_of` is called, after they run, with the api's image ("" if there is none) for the migrations it knows.
    """
    if release is None:
        yield
        return
    from docker.errors import DockerException

    began = time.monotonic()

    def end(outcome: Outcome) -> None:
        services = state.read_cluster(client, stack).services
        images = {service.short_name: service.image for service in services if "@" in service.image}
        ended = replace(release, outcome=outcome, seconds=time.monotonic() - began, images=images)
        releases.finish(client, stack, ended)
        # Afterwards: it takes some seconds, and an interruption must not undo that the release succeeded.
        if outcome is Outcome.SUCCEEDED and (keys := migrations_of(ended.image(API))) is not None:
            releases.finish(client, stack, replace(ended, migrations=keys))

    releases.begin(client, stack, release)
    try:
        yield
    except OpenBalenaError:
        # If the swarm cannot be reached, why the deploy failed is the better message.
        with suppress(DockerException, OSError):
            end(Outcome.FAILED)
        raise
    end(Outcome.SUCCEEDED if wait else Outcome.SUBMITTED)
