"""Waiting for services after a change of the cluster other than a deploy."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from openbalena.base.errors import OperationError
from openbalena.docker.engine import Engine
from openbalena.operations.reporter import Reporter
from openbalena.settings import Settings
from openbalena.swarm import report, watch
from openbalena.swarm.state import Cluster


def wait_for_services(
    names: Collection[str],
    engine: Engine,
    client: Any,
    values: Settings,
    known: frozenset[str],
    timeout: float,
    reporter: Reporter,
) -> Cluster | None:
    """Wait until the services (full names) run; returns the cluster then, None without names. `timeout` in seconds.

    `known` are the tasks that existed before the change. Raises OperationError with the services' errors.
    """
    if not names:
        return None
    outcome = watch.wait_until_converged(client, values["STACK_NAME"], timeout, known, reporter.follow_tasks(), names)
    if outcome.reason:
        raise OperationError(report.failure_report(outcome, engine, values.masked))
    return outcome.cluster
