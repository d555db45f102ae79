"""swarm-up: checks, renders and deploys the stack, then waits until every service runs."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from openbalena.cli.context import Context
from openbalena.cli.numbers import seconds
from openbalena.errors import OperationError
from openbalena.operations.settings_lock import shared_lock

if TYPE_CHECKING:
    from openbalena.cluster.engine import Engine
    from openbalena.cluster.preflight import Finding, Plan
    from openbalena.cluster.state import Cluster
    from openbalena.operations.deployment import Deployment

# Seconds. A roll of two tasks of the api takes 180 by its delay and monitor, and 120 to 480 for the starts.
_TIMEOUT = 900.0


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--timeout", metavar="SECONDS", type=seconds, default=_TIMEOUT, help="how long to wait (900)")
    parser.add_argument("--no-wait", action="store_true", help="do not wait until the services run")
    parser.add_argument("--dry-run", action="store_true", help="print the stack, secrets masked, and deploy nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask before a service with data is removed")
    parser.add_argument("--take-over", metavar="LOCK", default="", help="take over the lock of a deploy that is gone")


def run(args: argparse.Namespace, context: Context) -> int:
    """Exit code 1 where something keeps the stack from running; every problem is named."""
    from openbalena.secrets import tokens

    if args.dry_run:
        return _dry_run(*_loaded(context), context)
    # What is rendered and what is kept in the swarm are read one after the other.
    with shared_lock(context.project.directory):
        code = _up(args, context, *_loaded(context))
        if args.no_wait or not (names := tokens.complete(context.project)):
            return code
        context.console.progress(f"{', '.join(names)}: nothing shows the old value any more: removing it …")
        return _up(args, context, *_loaded(context))


def _loaded(context: Context) -> "tuple[Deployment, tuple[str, ...]]":
    """The deployment, and which of its volumes go to the NFS server."""
    from openbalena.operations import deployment
    from openbalena.storage import nfs

    loaded = deployment.load(context.project, lab=context.lab)
    for warning in loaded.settings.warnings:
        context.console.warn(warning)
    nfs.require_server(loaded.settings)
    return loaded, nfs.chosen(loaded.settings, loaded.compiled.stateful)


def _up(args: argparse.Namespace, context: Context, loaded: "Deployment", on_nfs: tuple[str, ...]) -> int:
    from openbalena import settings
    from openbalena.cli import swarm_deploy
    from openbalena.cluster import demand, encryption, lock, networks, preflight, state
    from openbalena.cluster import engine as engines
    from openbalena.operations import settings_sync
    from openbalena.storage import beside, external, guard, nfs, record

    settings.require_intact(loaded.settings, cluster=True)
    console, stack = context.console, loaded.settings["STACK_NAME"]
    engine = engines.current(context.lab)
    with engine.client() as client:
        engines.require_manager(client, engine)
        settings_sync.check(client, context.project, loaded.settings)
        cluster = state.read(client, stack)
        if stays := encryption.kept(cluster.networks, loaded.settings["SWARM_ENCRYPTED"]):
            console.warn(stays)
        loaded, built = resolved(loaded, context, engine, cluster)
        plan = _plan(loaded, swarm_deploy.scaled(client, loaded, cluster)[0], engine, cluster, built)
        _require([*preflight.check(plan, cluster), *networks.unreachable(loaded.compiled.document)], context)
        if going := demand.removed(plan.services, cluster):
            names = ", ".join(f"{s.short_name} (volume {', '.join(demand.data_volumes(s))})" for s in going)
            if not console.confirm(
                f"The settings no longer have {names}. Remove the service? (Its volume stays.)", yes=args.yes
            ):
                raise OperationError("nothing was deployed")
        with lock.held(client, "swarm-up", args.take_over):
            # Others may have had the lock while the question was open.
            cluster = state.read(client, stack)
            _ask_nodes(context, engine, client, cluster, plan)
            known = record.note(client, stack, cluster)
            guard.require_data(engine, client, plan.services, cluster, known, nfs.wanted(loaded.settings, on_nfs))
            _require(list(beside.check(engine, loaded.settings, loaded.compiled.stateful, known)), context)
            for volume, move in guard.interrupted(known):
                console.warn(
                    f"a move of volume {volume} to {cluster.hostname(move.target)} was interrupted and it stays where "
                    f"it was: run ./open-balena.sh storage move {volume} {cluster.hostname(move.target)} to go on"
                )
            images = {service.short_name: service.image for service in plan.services}
            found = external.check(engine, client, loaded.settings, images, cluster.this_node, plan.api_tasks)
            _require(found, context)
            settings_sync.keep(client, context.project, loaded.settings)
            return swarm_deploy.Deploy(args, context, engine, client, with_nfs(loaded, on_nfs), resolve=not built).all()


def _ask_nodes(context: Context, engine: "Engine", client: Any, cluster: "Cluster", plan: "Plan") -> None:
    """What only a task on each node can find out; raises OperationError for what would keep the deploy from running."""
    from openbalena.cluster import encryption, mesh, ports

    if plan.settings["INGRESS_MODE"] == "mesh":
        context.console.progress("asking every node for ip_vs …")
        _require(mesh.check(engine, client, cluster, plan.services[0].image), context)
    if nodes := encryption.asked(cluster, plan.settings["SWARM_ENCRYPTED"], plan.services):
        names = ", ".join(node.hostname for node in nodes)
        context.console.progress(f"trying whether {names} can encrypt overlay networks …")
        _require(encryption.check(engine, client, nodes, plan.services), context)
    if asked := ports.questions(plan.services, cluster):
        for question in asked:
            context.console.progress(f"asking {question.node.hostname} whether {question.named} can be bound …")
        _require(ports.check(engine, client, asked), context)


def with_nfs(loaded: "Deployment", names: tuple[str, ...]) -> "Deployment":
    """The deployment with those of its volumes on the NFS server."""
    from openbalena.storage import nfs

    document = nfs.apply(loaded.compiled.document, loaded.settings, names)
    return replace(loaded, compiled=replace(loaded.compiled, document=document)) if names else loaded


def _require(findings: "Sequence[Finding]", context: Context) -> None:
    for finding in findings:
        if not finding.fatal:
            context.console.warn(finding.text)
    if fatal := [finding.text for finding in findings if finding.fatal]:
        raise OperationError("nothing was deployed:\n  " + "\n  ".join(fatal))


def resolved(
    loaded: "Deployment", context: Context, engine: "Engine", cluster: "Cluster"
) -> tuple["Deployment", frozenset[str]]:
    """The deployment with the built images' content tags and what the swarm decides, and those images that only the
    nodes have."""
    from openbalena import images
    from openbalena.cli import shown
    from openbalena.images import build as builder
    from openbalena.operations import deployment

    builds = images.tagged(images.builds(loaded, lab=context.lab), builder.base_ids(engine, pull=False))
    extra = {what.variable: what.image for what in builds} | shown.of_swarm(cluster)
    pushed = not context.lab and images.names_registry(loaded.settings["IMAGE_PREFIX"])
    built = frozenset() if pushed else frozenset(what.image for what in builds)
    return deployment.load(context.project, lab=context.lab, extra=extra), built


def _plan(
    loaded: "Deployment", document: dict[str, Any], engine: "Engine", cluster: "Cluster", built: frozenset[str]
) -> "Plan":
    from openbalena.cluster import demand, placement, preflight, probe

    stack = loaded.settings["STACK_NAME"]
    services = demand.services(document, stack)
    reachable = engine.nodes or (engine,)
    return preflight.Plan(
        services=services,
        node_labels=placement.ours(loaded.compiled.node_labels),
        built=built,
        absent=probe.absent_images(reachable, built),
        taken=probe.taken_ports(reachable, services, (*cluster.services, *cluster.others)),
        settings=loaded.settings,
    )


def _dry_run(loaded: "Deployment", on_nfs: tuple[str, ...], context: Context) -> int:
    from openbalena import placeholder
    from openbalena.cli import shown
    from openbalena.settings.values import MASK
    from openbalena.stack.emit import dump

    def masked(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: masked(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [masked(item) for item in value]
        if not isinstance(value, str):
            return value
        return placeholder.fill(value, lambda name: MASK)

    found = shown.named(loaded, context)
    context.console.say(dump(masked(with_nfs(found.deployment, on_nfs).compiled.document)).rstrip())
    found.warn(context)
    return 0
