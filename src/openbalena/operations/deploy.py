"""swarm-up: checks everything, then deploys the stack and waits until every service runs.

The order of the steps is what keeps data and tokens safe: nothing is changed before every check has passed; what can
only be checked while no other deploy runs is checked under the lock; and the settings are stored in the swarm before
any service gets them.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from openbalena import settings
from openbalena.base.errors import OperationError
from openbalena.operations import deployment as deployments
from openbalena.operations import settings_sync
from openbalena.operations.built_images import with_built_images
from openbalena.operations.deploy_checks import DeployChecks, other_mode_findings, plan_deploy, require_none_fatal
from openbalena.operations.deployment import Deployment
from openbalena.operations.hooks import POST_DEPLOY, PRE_DEPLOY, hook_values, run_hook
from openbalena.operations.manager import manager_client
from openbalena.operations.reporter import Reporter
from openbalena.operations.rollout import Rollout
from openbalena.operations.settings_lock import shared_lock
from openbalena.operations.workspace import Workspace
from openbalena.pki import tokens
from openbalena.settings import Settings
from openbalena.storage import nfs
from openbalena.swarm import encryption, lock, networks, planned_services, preflight, state
from openbalena.swarm.state import Cluster, SwarmService


@dataclass(frozen=True)
class DeployOptions:
    """`timeout` is in seconds, for each wait. `take_over` is the id of a stale lock. `message` is for the release.

    `restoring` prepares the volumes, under the lock and after every check; what it yields fills the database, which
    is called once that runs and before anything uses it.
    """

    timeout: float
    wait: bool = True
    take_over: str = ""
    message: str = ""
    restoring: Callable[[DeployChecks], AbstractContextManager[Callable[[], None]]] | None = None


@dataclass(frozen=True)
class DeployResult:
    """See RolloutResult for `converged` and `release`."""

    settings: Settings
    converged: int | None
    release: int | None


def deploy(options: DeployOptions, workspace: Workspace, reporter: Reporter) -> DeployResult:
    """Deploy the stack, twice if a token's previous value can be removed once no service uses it.

    Raises UsageError for wrong settings and OperationError, before anything has changed, with every reason that the
    stack would not run; afterwards with the errors of the services that do not.
    """
    # Nobody may change the settings between the rendering and the upload to the swarm.
    with shared_lock(workspace.project.directory):
        result = _deploy_once(options, workspace, reporter)
        if options.wait and (rotated := tokens.drop_previous_tokens(workspace.project)):
            reporter.progress(
                f"{result.converged} services have converged; no service uses the previous {', '.join(rotated)} any "
                "more: removing it …"
            )
            result = _deploy_once(options, workspace, reporter, part_of=result)
    run_hook(workspace.project, POST_DEPLOY, hook_values(result.settings, "swarm-up", options.message), reporter)
    return result


def _deploy_once(
    options: DeployOptions, workspace: Workspace, reporter: Reporter, part_of: DeployResult | None = None
) -> DeployResult:
    """`part_of` is the deploy that this one completes."""
    deployment, nfs_volumes = _read_deployment(workspace, reporter)
    project, stack = workspace.project, deployment.settings["STACK_NAME"]
    settings.require_intact(deployment.settings, cluster=True)
    with manager_client(workspace) as (engine, client):
        settings_sync.require_compatible_settings(client, project, deployment.settings)
        cluster = state.read_cluster(client, stack)
        _warn_of_kept_encryption(deployment, cluster, reporter)
        deployment, local_images = with_built_images(deployment, workspace, engine, cluster)
        plan = plan_deploy(engine, client, deployment, cluster, local_images)
        unreachable = networks.unreachable_services(deployment.compiled.document)
        compose_data = other_mode_findings(engine, client, deployment)
        require_none_fatal([*compose_data, *preflight.preflight_findings(plan, cluster), *unreachable], reporter)
        _confirm_removal(planned_services.services_to_prune(plan.services, cluster), reporter)
        with lock.acquire(client, "swarm-up", options.take_over):
            # Others may have had the lock while the question was open.
            cluster = state.read_cluster(client, stack)
            checks = DeployChecks(engine, client, cluster, deployment, plan, nfs_volumes, reporter)
            checks.require_capable_nodes()
            checks.require_data()
            checks.require_external_services()
            checks.require_schema()
            if part_of is None:
                values = hook_values(deployment.settings, "swarm-up", options.message)
                run_hook(project, PRE_DEPLOY, values, reporter)
            settings_sync.upload(client, project, deployment.settings)
            restoring = options.restoring if part_of is None else None
            with restoring(checks) if restoring else nullcontext() as fill:
                rollout = Rollout(
                    project=project,
                    reporter=reporter,
                    engine=engine,
                    client=client,
                    deployment=deployments.with_nfs(deployment, nfs_volumes),
                    resolve=not local_images,
                    timeout=options.timeout,
                    command="swarm-up",
                    message=options.message,
                    replaces=part_of.release if part_of else None,
                    fill_database=fill,
                )
                result = rollout.run(wait=options.wait)
            return DeployResult(deployment.settings, result.converged, result.release)


def _read_deployment(workspace: Workspace, reporter: Reporter) -> tuple[Deployment, tuple[str, ...]]:
    """The deployment, and which of its volumes are on the NFS server."""
    deployment = deployments.load(workspace.project, lab=workspace.lab)
    for warning in deployment.settings.warnings:
        reporter.warn(warning)
    return deployment, nfs.nfs_volumes(deployment.settings, deployment.compiled.stateful)


def _warn_of_kept_encryption(deployment: Deployment, cluster: Cluster, reporter: Reporter) -> None:
    if warning := encryption.unencrypted_networks_warning(cluster.networks, deployment.settings["SWARM_ENCRYPTED"]):
        reporter.warn(warning)


def _confirm_removal(services: Sequence[SwarmService], reporter: Reporter) -> None:
    """Ask before services with data are removed; raises OperationError unless the user agrees."""
    if not services:
        return
    names = ", ".join(f"{s.short_name} (volume {', '.join(planned_services.pinned_volumes(s))})" for s in services)
    one = len(services) == 1
    if not reporter.confirm(
        f"{names} {'is' if one else 'are'} no longer in the settings. Remove the service{'' if one else 's'}? "
        "(The volumes are kept.)"
    ):
        raise OperationError("nothing was deployed")
