"""Recording each command that changes a cluster, in the swarm: around the command, however it ends.

A record that cannot be written never makes a command fail.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from openbalena import settings
from openbalena.base.errors import OpenBalenaError
from openbalena.base.owner import current_owner
from openbalena.operations.manager import manager_client
from openbalena.operations.reporter import Reporter
from openbalena.operations.workspace import Workspace
from openbalena.swarm import audit
from openbalena.swarm.audit import Entry, Outcome

# Characters of a command, and of an error, that are kept.
_LENGTH = 300


def list_commands(workspace: Workspace) -> list[Entry]:
    """The recorded commands, the newest first. Raises OperationError as manager_client does."""
    stack = settings.read(workspace.project)["STACK_NAME"]
    with manager_client(workspace) as (_, client):
        return audit.read_entries(client, stack)


def run_recorded(words: Sequence[str], workspace: Workspace, reporter: Reporter, run: Callable[[], int]) -> int:
    """Call `run`, and record the command `words` with how it ended; returns the exit code of `run`, raises its errors.

    Nothing is recorded where there is no manager of a swarm: the command says so, or works on one machine.
    """
    began = time.monotonic()
    entry = Entry(current_owner(), datetime.now(UTC).isoformat(timespec="seconds"))
    entry = _write(entry, words, workspace, reporter)
    outcome, error = Outcome.INTERRUPTED, ""
    try:
        code = run()
        outcome = Outcome.FAILED if code else Outcome.SUCCEEDED
        return code
    except Exception as failure:
        outcome = Outcome.FAILED
        error = str(failure) if isinstance(failure, OpenBalenaError) else f"unexpected {type(failure).__name__}"
        raise
    finally:
        # The command may have made the swarm.
        if entry.number or outcome is Outcome.SUCCEEDED:
            entry = replace(entry, outcome=outcome, seconds=round(time.monotonic() - began, 1), error=error)
            _write(entry, words, workspace, reporter)


def _write(entry: Entry, words: Sequence[str], workspace: Workspace, reporter: Reporter) -> Entry:
    """Keep `entry` with the command `words`, without secrets; returns it with its number, 0 if it was not kept."""
    import docker
    import requests

    try:
        # Read again at the end: the command may have changed the settings.
        values = settings.read_unchecked(workspace.project)
        command = _one_line(shlex.join(values.masked(word) for word in words))
        shown = replace(entry, command=command, error=_one_line(values.masked(entry.error)))
        with manager_client(workspace) as (_, client):
            try:
                return replace(entry, number=audit.write(client, values["STACK_NAME"], shown))
            except (docker.errors.DockerException, requests.RequestException, OSError) as failure:
                reporter.warn(f"cannot record this command for swarm-history --all: {failure}")
    except OpenBalenaError:
        pass
    return entry


def _one_line(text: str) -> str:
    joined = " ".join(text.split())
    return joined if len(joined) <= _LENGTH else f"{joined[:_LENGTH]}…"
