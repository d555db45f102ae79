"""Handing a rendered stack to Docker and waiting until its services run."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openbalena.base.errors import OperationError
from openbalena.base.names import full_name
from openbalena.docker.engine import Engine
from openbalena.operations.reporter import Reporter
from openbalena.swarm import deploy, deploy_retry, report, slow_starts, state, stuck_updates, watch
from openbalena.swarm.state import Cluster
from openbalena.swarm.watch import DeployOutcome


@dataclass(frozen=True)
class Submission:
    """The stack `stack`, as rendered in `directory`. `resolve` as for submit_stack; `timeout` in seconds.

    `mask` replaces secrets in what programs printed.
    """

    engine: Engine
    client: Any
    stack: str
    directory: Path
    resolve: bool
    timeout: float
    reporter: Reporter
    mask: Callable[[str], str] = str

    def submit(self, only: Collection[str] = ()) -> None:
        """Hand the stack to Docker, or of it the services in `only`."""
        deploy.submit_stack(self.engine, self.directory, self.stack, resolve=self.resolve, only=only)

    def submit_and_wait(
        self,
        stopped: str,
        only: Collection[str] = (),
        unwatched: Collection[str] = (),
        seen: Callable[[Cluster], object] = lambda cluster: None,
    ) -> DeployOutcome:
        """Submit and wait until the services run, but not for those that are `unwatched`.

        `stopped` is shown if the user stops waiting. `seen` is called with the cluster at the end of each attempt.
        Raises OperationError with the errors.
        """

        def attempt() -> DeployOutcome:
            known = watch.preexisting_task_ids(state.read_cluster(self.client, self.stack))
            self.submit(only)
            names = [full_name(self.stack, name) for name in only or self._watched(unwatched)]
            follow = self.reporter.follow_tasks()
            explain = slow_starts.SlowStarts(self.engine, self.mask).explain
            outcome = watch.wait_until_converged(self.client, self.stack, self.timeout, known, follow, names, explain)
            seen(outcome.cluster)
            if outcome.reason:
                outcome = stuck_updates.roll_back_stuck(self.engine, self.client, self.stack, outcome, follow)
                raise OperationError(report.failure_report(outcome, self.engine, self.mask))
            return outcome

        with self.reporter.interruptible(stopped):
            return deploy_retry.retry_transient(self.client, self.stack, attempt, self.reporter.progress)

    def _watched(self, unwatched: Collection[str]) -> list[str]:
        """The services to wait for; empty for all of them."""
        names = deploy.read_rendered(self.directory)["services"] if unwatched else ()
        return [name for name in names if name not in unwatched]
