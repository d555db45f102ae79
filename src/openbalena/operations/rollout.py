"""The rollout of a checked deployment: what must run first, then the whole stack, then what may be removed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from openbalena import stack as stacks
from openbalena.base.project import Project
from openbalena.docker.engine import Engine
from openbalena.operations.deployment import Deployment
from openbalena.operations.releases import next_release, recorded
from openbalena.operations.reporter import Reporter
from openbalena.operations.schema_check import SchemaCheck
from openbalena.operations.stack_diff import document_changes, rendered_document
from openbalena.operations.submit_and_wait import Submission
from openbalena.pki import tokens
from openbalena.pki.database_login import Login, in_use
from openbalena.storage import database, record
from openbalena.swarm import (
    deploy,
    networks,
    planned_services,
    releases,
    rollout_order,
    scale,
    service_update,
    state,
)
from openbalena.swarm.releases import Release
from openbalena.swarm.rollout_order import Stage
from openbalena.swarm.state import Cluster
from openbalena.swarm.watch import DeployOutcome

Document = dict[str, Any]
# How many changes of a service are reported; `stack diff` shows all of them.
_SHOWN = 5


def with_manual_scaling(
    client: Any, deployment: Deployment, cluster: Cluster
) -> tuple[Document, dict[str, tuple[int, int]]]:
    """The stack document with the manually set numbers of tasks, and those: (running, defined) by service."""
    moves = record.read_registry(client, deployment.settings["STACK_NAME"]).moves
    stopped_by_moves = {name for move in moves.values() for name in move.replicas}
    return scale.keep_manual_replicas(deployment.compiled.document, cluster, stopped_by_moves)


@dataclass(frozen=True)
class RolloutResult:
    """`converged` is the number of services that run, None if they were not waited for.

    `release` is the number under which the rollout is recorded, None if it changed nothing.
    """

    converged: int | None
    release: int | None


@dataclass(frozen=True)
class Rollout:
    """One rollout of `deployment`, under the cluster's lock. `resolve` as for submit_stack; `timeout` in seconds.

    It is recorded as a release, with `command` and `message`; in place of `replaces` if it is a part of that release.
    `fill_database` is called once the database runs, and before a new api does.
    """

    project: Project
    reporter: Reporter
    engine: Engine
    client: Any
    deployment: Deployment
    resolve: bool
    timeout: float
    command: str
    message: str = ""
    replaces: int | None = None
    fill_database: Callable[[], None] | None = None
    # What is rendered now as Docker reads it, once that was needed: each reading is a docker process.
    _read: list[Document] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def stack(self) -> str:
        """The stack's name."""
        return self.deployment.settings["STACK_NAME"]

    def run(self, *, wait: bool) -> RolloutResult:
        """Every step in order. Raises OperationError with the errors of the services that do not run."""
        before = state.read_cluster(self.client, self.stack)
        document, scaled = with_manual_scaling(self.client, self.deployment, before)
        self._report_scaling(scaled)
        self._render(document)
        release = self._next_release(before)
        schema = SchemaCheck(self.engine, self.client, self.deployment.settings, self.reporter)
        with recorded(self.client, self.stack, release, wait=wait, migrations_of=schema.migrations_of):
            converged = self._deploy(before, document, wait=wait)
        if wait:
            self._prune()
        return RolloutResult(converged, release.number if release else self.replaces)

    def _deploy(self, before: Cluster, document: Document, *, wait: bool) -> int | None:
        """The steps of the deploy of `document`; returns the number of converged services, None without `wait`."""
        login = self._new_login(before, document)
        known = networks.network_names(self.client)
        # With new networks the whole stack is deployed twice: see swarm.networks.
        bridging = networks.intermediate_document(document, self.stack, before, known)
        first = bridging or document
        single_api = rollout_order.one_api(before, first)
        if bridging or single_api:
            self._render(single_api or first)
        self._start_internal_services(before, document)
        self._create_login(before, login)
        self._fill_database(before, login, document)
        self._create_tables(single_api, first)
        self._update_token_verifiers(before)
        self._attach_new_networks(bridging, document)
        self._move_between_networks(before, document, known)
        self.reporter.progress(f"deploying {self.stack} from {self.project.rendered} …")
        if not wait:
            self._submission.submit()
            return None
        outcome = self._deploy_all()
        self._close_previous_login(login)
        return len(outcome.progress)

    def _report_scaling(self, scaled: Mapping[str, tuple[int, int]]) -> None:
        for name, (running, defined) in scaled.items():
            self.reporter.progress(
                f"keeping {name} at {running} replicas (scaled manually; the definition says {defined})"
            )

    def _next_release(self, before: Cluster) -> Release | None:
        """The release that this rollout makes. Reports which services of a running stack change, and what of them."""
        document = self._rendered_document()
        changes = document_changes(self.client, document, self.stack)
        running = [service.short_name for service in before.services]
        replaced = rollout_order.tasks_replaced(changes, running)
        for name, found in changes.items() if running else ():
            kept = "" if name in replaced or name not in running else " (its tasks keep running)"
            more = f"; {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            self.reporter.progress(f"{name}{kept}: {'; '.join(map(str, found[:_SHOWN]))}{more}")
        known = releases.read_releases(self.client, self.stack)
        if self.replaces is not None:
            return replace(known[0], document=releases.external(document))
        return next_release(known, self.command, self.message, changes, document)

    def _new_login(self, before: Cluster, document: Document) -> Login | None:
        """The settings' database login, if the api does not run with it yet or a different one can log in too."""
        login = in_use(self.deployment.settings) if database.SERVICE in document["services"] else None
        if login and database.is_settled(before, record.read_registry(self.client, self.stack), login):
            return None
        return login

    def _start_internal_services(self, before: Cluster, document: Document) -> None:
        """A database or object store that was external so far must run before the services that use it restart."""
        if returning := rollout_order.newly_internal(before, planned_services.planned_services(document, self.stack)):
            self._update_first(returning, "other services need it")

    def _create_login(self, before: Cluster, login: Login | None) -> None:
        if not login:
            return
        if not database.has_converged(before, database.SERVICE):
            self._update_first([database.SERVICE], "the api's login is created in it")
        self._database.ensure(login, alone=service_update.find_service(before, "api") is None)

    def _fill_database(self, before: Cluster, login: Login | None, document: Document) -> None:
        if not self.fill_database:
            return
        internal = database.SERVICE in document["services"]
        if internal and not login and not database.has_converged(before, database.SERVICE):
            self._update_first([database.SERVICE], "its data is restored")
        self.fill_database()

    def _create_tables(self, single_api: Document | None, document: Document) -> None:
        """Deploy one task of a new api alone (`single_api`, which is rendered): see staged.one_api."""
        if not single_api:
            return
        self.reporter.progress(
            "starting api with one task first: it creates the tables of an empty database, which a second task must "
            "not do at the same time …"
        )
        self._deploy_all()
        self._render(document)

    def _update_token_verifiers(self, before: Cluster) -> None:
        directory = self.project.rendered
        versions = rollout_order.versions(deploy.read_rendered(directory), directory, self.stack)
        for name in rollout_order.services_to_roll_first(
            before, versions, tokens.overlapping(self.deployment.settings)
        ):
            self._update_first([name], "it verifies tokens that other services present")

    def _attach_new_networks(self, bridging: Document | None, document: Document) -> None:
        """Deploy what has both old and new networks (`bridging`, which is rendered), if networks change."""
        if bridging is None:
            return
        self.reporter.progress("attaching new networks first, and keeping the old ones until every service has both …")
        self._deploy_all()
        self._render(document)

    def _move_between_networks(self, before: Cluster, document: Document, known: Mapping[str, str]) -> None:
        if moved := networks.services_changing_networks(document, self.stack, before, known):
            self._update_first(moved, "a service's name cannot be resolved while its networks change")

    def _close_previous_login(self, login: Login | None) -> None:
        if login:
            self._database.ensure(login, alone=True)

    def _prune(self) -> None:
        for name in deploy.remove_unused(self.client, self.stack):
            self.reporter.progress(f"removed {name} (no longer in use)")

    @property
    def _database(self) -> database.Database:
        return database.Database(self.engine, self.client, self.stack)

    def _render(self, document: Document) -> None:
        compiled = replace(self.deployment.compiled, document=document)
        self._read.clear()
        stacks.render(compiled, self.project.rendered, self.deployment.settings.secrets, self.stack)

    def _rendered_document(self) -> Document:
        if not self._read:
            self._read.append(rendered_document(self.engine, self.project.rendered, self.stack))
        return self._read[0]

    def _update_first(self, names: Sequence[str], why: str) -> None:
        """Deploy these services of what is rendered, and wait until they run; raises OperationError with the errors."""
        self.reporter.progress(f"updating {', '.join(names)} first: {why} …")
        stopped = (
            f"Stopped waiting. Swarm continues to update {', '.join(names)}. The rest of {self.stack} was not "
            "deployed: run ./open-balena.sh swarm-up again"
        )
        self._submit_and_wait(names, stopped)

    def _deploy_all(self) -> DeployOutcome:
        """Deploy what is rendered and wait until every service runs; raises OperationError with the errors.

        Services that change are deployed in stages, so that a part of the stack that others use is replaced alone.
        """
        for stage in self._stages():
            self._update_first(stage.services, stage.why)
        stopped = (
            f"Stopped waiting. Swarm continues to deploy {self.stack}: ./open-balena.sh swarm-status shows its "
            "progress, ./open-balena.sh swarm-up waits again"
        )
        return self._submit_and_wait((), stopped)

    def _stages(self) -> list[Stage]:
        """What of the rendered stack is deployed before the rest of it."""
        running = [service.short_name for service in state.read_cluster(self.client, self.stack).services]
        document = deploy.read_rendered(self.project.rendered)
        planned = planned_services.planned_services(document, self.stack)
        data = [service.short_name for service in planned if planned_services.pinned_volumes(service)]
        changes = document_changes(self.client, self._rendered_document(), self.stack)
        return rollout_order.stages(
            {name: found for name, found in changes.items() if name in document["services"]}, running, data
        )

    def _submit_and_wait(self, only: Sequence[str], stopped: str) -> DeployOutcome:
        """Deploy what is rendered, or of it the services in `only`, and wait until they run.

        `stopped` is shown if the user stops waiting. Raises OperationError with the errors.
        """
        return self._submission.submit_and_wait(
            stopped, only, seen=lambda cluster: record.record_observed(self.client, self.stack, cluster)
        )

    @property
    def _submission(self) -> Submission:
        return Submission(
            engine=self.engine,
            client=self.client,
            stack=self.stack,
            directory=self.project.rendered,
            resolve=self.resolve,
            timeout=self.timeout,
            reporter=self.reporter,
            mask=self.deployment.settings.masked,
        )
