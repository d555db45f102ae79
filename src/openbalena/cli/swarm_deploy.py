"""The deploy of swarm-up, once nothing speaks against it: what has to run first, the whole, what only then may go."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from openbalena import stack as stacks
from openbalena.cli import next_steps, swarm_progress
from openbalena.cli.context import Context
from openbalena.cluster import again, demand, deploy, networks, one_service, scale, staged, state, watch
from openbalena.errors import OperationError
from openbalena.secrets import tokens
from openbalena.secrets.database import in_use
from openbalena.storage import database, record

if TYPE_CHECKING:
    from openbalena.cluster.engine import Engine
    from openbalena.cluster.state import Cluster
    from openbalena.cluster.watch import Outcome
    from openbalena.operations.deployment import Deployment
    from openbalena.secrets.database import Login


@dataclass(frozen=True)
class Deploy:
    """One deploy of `loaded`; `resolve` as for deploy.submit."""

    args: argparse.Namespace
    context: Context
    engine: Engine
    client: Any
    loaded: Deployment
    resolve: bool

    @property
    def stack(self) -> str:
        """The stack's name."""
        return self.loaded.settings["STACK_NAME"]

    def all(self) -> int:
        """Every step; returns the exit code. Raises OperationError with the reasons where a service does not run."""
        console = self.context.console
        before = state.read(self.client, self.stack)
        document, kept = scaled(self.client, self.loaded, before)
        for name, (now, asked) in kept.items():
            console.progress(f"{name} stays at {now} tasks, as it was scaled by hand (the definition asks for {asked})")
        login = self._new_login(before, document)
        self._begin(before, document, login)
        console.progress(f"deploying {self.stack} from {self.context.project.rendered} …")
        if self.args.no_wait:
            deploy.submit(self.engine, self.context.project.rendered, self.stack, resolve=self.resolve)
            console.say(f"{self.stack} was handed to Docker; swarm-status shows how it gets on.")
            return 0
        outcome = self._converge()
        if login:
            self._database.ensure(login, alone=True)
        for name in deploy.remove_unused(self.client, self.stack):
            console.progress(f"removed {name}, which nothing uses any more")
        console.say(f"{self.stack} runs: {len(outcome.progress)} services have converged.")
        for line in next_steps.of(self.loaded.settings, self.context):
            console.say(line)
        return 0

    def _begin(self, before: Cluster, document: dict[str, Any], login: Login | None) -> None:
        """Deploy what has to run before the rest, one after the other, and leave the whole `document` rendered."""
        progress = self.context.console.progress
        # With new networks the whole is deployed twice: see cluster.networks.
        known = networks.names(self.client)
        first = networks.between(document, self.stack, before, known) or document
        few = staged.one_api(before, first)
        self._render(few or first)
        if back := staged.returning(before, demand.services(document, self.stack)):
            self._ahead(back, "other services need it")
        if login:
            if not database.converged(before, database.SERVICE):
                self._ahead([database.SERVICE], "the api's login is made in it")
            self._database.ensure(login, alone=one_service.find(before, "api") is None)
        if few:
            progress("api with one task first: on an empty database it makes the tables, and no other may meanwhile …")
            self._converge()
            self._render(first)
        directory = self.context.project.rendered
        versions = staged.versions(deploy.read_rendered(directory), directory, self.stack)
        for name in staged.first(before, versions, tokens.overlapping(self.loaded.settings)):
            self._ahead([name], "it checks tokens that other services show")
        if first is not document:
            progress("new networks first, beside those that services leave: then none loses another …")
            self._converge()
            self._render(document)
        if moved := networks.moved(document, self.stack, before, known):
            self._ahead(moved, "others call them by name, and cannot while they move to other networks")

    @property
    def _database(self) -> database.Database:
        return database.Database(self.engine, self.client, self.stack)

    def _new_login(self, before: Cluster, document: dict[str, Any]) -> Login | None:
        """The database's login of the settings, where the api does not run with it yet or another may log in too."""
        login = in_use(self.loaded.settings) if database.SERVICE in document["services"] else None
        if login and database.settled(before, record.read(self.client, self.stack), login):
            return None
        return login

    def _render(self, document: dict[str, Any]) -> None:
        compiled = replace(self.loaded.compiled, document=document)
        stacks.render(compiled, self.context.project.rendered, self.loaded.settings.secrets, self.stack)

    def _ahead(self, names: Sequence[str], why: str) -> None:
        """Deploy these services of what is rendered, and wait until they run."""

        def attempt() -> None:
            deploy.submit(self.engine, self.context.project.rendered, self.stack, resolve=self.resolve, only=names)
            for name in names:
                shown = swarm_progress.Display(self.context)
                one_service.until_runs(self.client, self.stack, name, self.args.timeout, shown)

        self.context.console.progress(f"{', '.join(names)} first: {why} …")
        again.after_faults(self.client, self.stack, attempt, self.context.console.progress)

    def _converge(self) -> Outcome:
        """Hand what is rendered to Docker and wait until every service runs; raises OperationError with the reasons."""

        def everything() -> Outcome:
            known = watch.known(state.read(self.client, self.stack))
            deploy.submit(self.engine, self.context.project.rendered, self.stack, resolve=self.resolve)
            shown = swarm_progress.Display(self.context)
            outcome = watch.until_converged(self.client, self.stack, self.args.timeout, known, shown)
            record.note(self.client, self.stack, outcome.cluster)
            if outcome.reason:
                raise OperationError(swarm_progress.failure(outcome, self.engine, self.loaded.settings.masked))
            return outcome

        with self.context.console.waiting(
            f"No longer waiting. The swarm goes on deploying {self.stack}: ./open-balena.sh swarm-status shows how far "
            "it is, ./open-balena.sh swarm-up waits again"
        ):
            return again.after_faults(self.client, self.stack, everything, self.context.console.progress)


def scaled(client: Any, loaded: Deployment, cluster: Cluster) -> tuple[dict[str, Any], dict[str, tuple[int, int]]]:
    """The stack document with the numbers of tasks that were set by hand, and those: (kept, asked) by service."""
    moves = record.read(client, loaded.settings["STACK_NAME"]).moves
    stopped = {name for move in moves.values() for name in move.replicas}
    return scale.apply(loaded.compiled.document, cluster, stopped)
