"""swarm-up: checks, renders and deploys the stack, then waits until every service runs."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from openbalena.cli import next_steps
from openbalena.cli.config import unchanged
from openbalena.cli.context import Context
from openbalena.cli.numbers import seconds
from openbalena.errors import OperationError

if TYPE_CHECKING:
    from openbalena.cluster.engine import Engine
    from openbalena.cluster.preflight import Finding, Plan
    from openbalena.cluster.state import Cluster
    from openbalena.cluster.watch import Outcome
    from openbalena.deployment import Deployment

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
    from openbalena.secrets import rotate

    if args.dry_run:
        return _dry_run(*_loaded(context), context)
    # What is rendered and what is kept in the swarm are read one after the other.
    with unchanged(context.project.directory):
        code = _up(args, context, *_loaded(context))
        if args.no_wait or not (names := rotate.complete(context.project)):
            return code
        context.console.progress(f"{', '.join(names)}: nothing shows the old value any more: removing it …")
        return _up(args, context, *_loaded(context))


def _loaded(context: Context) -> "tuple[Deployment, tuple[str, ...]]":
    """The deployment, and which of its volumes go to the NFS server."""
    from openbalena import deployment
    from openbalena.storage import nfs

    loaded = deployment.load(context.project, lab=context.lab)
    for warning in loaded.settings.warnings:
        context.console.warn(warning)
    nfs.require_server(loaded.settings)
    return loaded, nfs.chosen(loaded.settings, loaded.compiled.stateful)


def _up(args: argparse.Namespace, context: Context, loaded: "Deployment", on_nfs: tuple[str, ...]) -> int:
    from openbalena import handover, settings
    from openbalena.cluster import demand, encryption, lock, networks, preflight, state
    from openbalena.cluster import engine as engines
    from openbalena.storage import beside, external, guard, nfs, record

    settings.require_intact(loaded.settings, cluster=True)
    console, stack = context.console, loaded.settings["STACK_NAME"]
    engine = engines.current(context.lab)
    with engine.client() as client:
        engines.require_manager(client, engine)
        handover.check(client, context.project, loaded.settings)
        cluster = state.read(client, stack)
        if stays := encryption.kept(cluster.networks, loaded.settings["SWARM_ENCRYPTED"]):
            console.warn(stays)
        loaded, built = resolved(loaded, context, engine, cluster)
        plan = _plan(loaded, _scaled(client, loaded, cluster)[0], engine, cluster, built)
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
            handover.keep(client, context.project, loaded.settings)
            return _deploy(args, context, engine, client, with_nfs(loaded, on_nfs), resolve=not built)


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


def _deploy(
    args: argparse.Namespace,
    context: Context,
    engine: "Engine",
    client: Any,
    loaded: "Deployment",
    *,
    resolve: bool,
) -> int:
    from openbalena import stack as stacks
    from openbalena.cluster import deploy, networks, staged, state

    console, stack, directory = context.console, loaded.settings["STACK_NAME"], context.project.rendered
    before = state.read(client, stack)
    document, kept = _scaled(client, loaded, before)
    for name, (now, asked) in kept.items():
        console.progress(f"{name} stays at {now} tasks, as it was scaled by hand (the definition asks for {asked})")

    begin = networks.between(document, stack, before, networks.names(client)) or document
    if few := staged.one_api(before, begin):
        console.progress(
            "api with one task first: on an empty database it makes the tables, and no other may meanwhile …"
        )
        stacks.render(replace(loaded.compiled, document=few), directory, loaded.settings.secrets, stack)
        _converged(args, context, engine, client, loaded, resolve=resolve)
    stacks.render(replace(loaded.compiled, document=begin), directory, loaded.settings.secrets, stack)
    _ahead(args, context, engine, client, loaded, before, begin, resolve=resolve)
    if begin is not document:
        console.progress("new networks first, beside those that services leave: then none loses another …")
        _converged(args, context, engine, client, loaded, resolve=resolve)
        stacks.render(replace(loaded.compiled, document=document), directory, loaded.settings.secrets, stack)
    console.progress(f"deploying {stack} from {directory} …")
    if args.no_wait:
        deploy.submit(engine, directory, stack, resolve=resolve)
        console.say(f"{stack} was handed to Docker; swarm-status shows how it gets on.")
        return 0
    outcome = _converged(args, context, engine, client, loaded, resolve=resolve)
    if login:
        there.ensure(login, alone=True)
    for name in deploy.remove_unused(client, stack):
        console.progress(f"removed {name}, which nothing uses any more")
    console.say(f"{stack} runs: {len(outcome.progress)} services have converged.")
    for line in next_steps.of(loaded.settings, context):
        console.say(line)
    return 0


def _ahead(
    args: argparse.Namespace,
    context: Context,
    engine: "Engine",
    client: Any,
    loaded: "Deployment",
    before: "Cluster",
    document: dict[str, Any],
    *,
    resolve: bool,
) -> None:
    """Deploy and wait for what has to run before the rest of the rendered `document`, one after the other."""
    from openbalena.cli import swarm_progress
    from openbalena.cluster import again, demand, deploy, one_service, staged
    from openbalena.secrets import rotate

    directory, progress = context.project.rendered, context.console.progress
    stack = loaded.settings["STACK_NAME"]

    def ahead(names: list[str], why: str) -> None:
        def attempt() -> None:
            deploy.submit(engine, directory, stack, resolve=resolve, only=names)
            for name in names:
                one_service.until_runs(client, stack, name, args.timeout, swarm_progress.Display(context))

        progress(f"{', '.join(names)} first: {why} …")
        again.after_faults(client, stack, attempt, progress)

    if back := staged.returning(before, demand.services(document, stack)):
        ahead(back, "other services need it")
    versions = staged.versions(deploy.read_rendered(directory), directory, stack)
    for name in staged.first(before, versions, rotate.overlapping(loaded.settings)):
        ahead([name], "it checks tokens that other services show")


def _converged(
    args: argparse.Namespace,
    context: Context,
    engine: "Engine",
    client: Any,
    loaded: "Deployment",
    *,
    resolve: bool,
) -> "Outcome":
    """Hand the rendered stack to Docker and wait until every service runs; raises OperationError with the reasons."""
    from openbalena.cli import swarm_progress
    from openbalena.cluster import again, deploy, state, watch
    from openbalena.storage import record

    console, stack, directory = context.console, loaded.settings["STACK_NAME"], context.project.rendered

    def everything() -> "Outcome":
        known = watch.known(state.read(client, stack))
        deploy.submit(engine, directory, stack, resolve=resolve)
        outcome = watch.until_converged(client, stack, args.timeout, known, swarm_progress.Display(context))
        record.note(client, stack, outcome.cluster)
        if outcome.reason:
            raise OperationError(swarm_progress.failure(outcome, engine, loaded.settings.masked))
        return outcome

    with console.waiting(
        f"No longer waiting. The swarm goes on deploying {stack}: ./open-balena.sh swarm-status shows how far it is, "
        "./open-balena.sh swarm-up waits again"
    ):
        return again.after_faults(client, stack, everything, console.progress)


def _scaled(client: Any, loaded: "Deployment", cluster: "Cluster") -> tuple[dict[str, Any], dict[str, tuple[int, int]]]:
    """The stack document with the numbers of tasks that were set by hand, and those: (kept, asked) by service."""
    from openbalena.cluster import scale
    from openbalena.storage import record

    moves = record.read(client, loaded.settings["STACK_NAME"]).moves
    stopped = {name for move in moves.values() for name in move.replicas}
    return scale.apply(loaded.compiled.document, cluster, stopped)


def resolved(
    loaded: "Deployment", context: Context, engine: "Engine", cluster: "Cluster"
) -> tuple["Deployment", frozenset[str]]:
    """The deployment with the built images' content tags and what the swarm decides, and those images that only the
    nodes have."""
    from openbalena import deployment, images
    from openbalena.cli import shown
    from openbalena.images import build as builder

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
