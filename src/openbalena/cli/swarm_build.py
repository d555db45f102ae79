"""swarm-build: builds every image of the stack, tags it by content, and brings it to every node."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from openbalena.cli.context import Context
from openbalena.errors import OperationError
from openbalena.invocation import invocation

if TYPE_CHECKING:
    from openbalena.cluster.engine import Engine
    from openbalena.images import Build


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--node",
        metavar="NODE",
        action="append",
        default=[],
        help="bring the images to this node: a Docker context, user@host or ssh://user@host (may be repeated)",
    )
    parser.add_argument(
        "--push", action="store_true", help="push the images to IMAGE_PREFIX, also where it names no registry's host"
    )
    parser.add_argument("--verbose", action="store_true", help="show every line of the builds")


def run(args: argparse.Namespace, context: Context) -> int:
    """Builds only what is not there yet; exit code 1 where a node was named and could not be given its images."""
    from openbalena import images
    from openbalena.cluster import engine as engines
    from openbalena.images import build as builder
    from openbalena.operations import deployment

    console = context.console
    loaded = deployment.load(context.project, lab=context.lab)
    engine = engines.current(context.lab)
    planned = images.builds(loaded, lab=context.lab)
    if context.lab:
        _ensure_lab_base(engine, {what.base for what in planned})
    builds = images.tagged(planned, builder.base_ids(engine, pull=True))
    if not builds:
        console.say("No service of this deployment has a build context.")
        return 0
    for what in builds:
        if builder.image_id(engine, what.image):
            console.say(f"{what.service}: {what.image} is there")
            engine.docker("tag", *what.names)
            continue
        console.progress(f"{what.service}: building {what.image} …")
        builder.build(engine, what, console.progress if args.verbose else lambda line: None)
        console.say(f"{what.service}: {what.image} built")
    if args.push or (not context.lab and images.names_registry(loaded.settings["IMAGE_PREFIX"])):
        for what in builds:
            console.progress(f"{what.service}: pushing {what.image} …")
            builder.push(engine, what)
        console.say(f"{len(builds)} images pushed: every node pulls them from there.")
    else:
        _spread(context, engine, engines.reach(engine, args.node), builds)
    console.say(f"Next: {invocation(context.project, lab=context.lab)} swarm-up")
    return 0


def _ensure_lab_base(engine: "Engine", bases: set[str]) -> None:
    """The stand-ins' base comes from no registry: it is made of Debian packages on this machine."""
    from openbalena.lab import base

    if base.IMAGE in bases:
        base.ensure(engine)


def _spread(context: Context, engine: "Engine", named: Sequence["Engine"], builds: list["Build"]) -> None:
    from openbalena.images import spread
    from openbalena.images.build import image_ids

    console = context.console
    names = [name for what in builds for name in what.names]
    source = image_ids(engine, names)
    nodes, silent = spread.ask([engine, *named, *engine.nodes], names)
    groups: dict[tuple[str, ...], list[spread.Node]] = {}
    for node in nodes:
        if lacking := spread.missing(source, node):
            groups.setdefault(tuple(lacking), []).append(node)
    failed = list(silent)
    for needed, group in groups.items():
        console.progress(f"{len(needed)} images to {', '.join(node.hostname for node in group)} …")
        failed += spread.transfer(engine, list(needed), [node.engine for node in group])
    nodes, _ = spread.ask([node.engine for node in nodes], names)
    for node in nodes:
        still = spread.missing(source, node)
        console.say(f"{node.hostname}: " + (f"lacks {', '.join(still)}" if still else "has every image"))
        failed += [f"{node.hostname} lacks {name}" for name in still]
    _unasked(context, engine, {node.node_id for node in nodes})
    if failed:
        raise OperationError("not every node has its images:\n  " + "\n  ".join(dict.fromkeys(failed)))


def _unasked(context: Context, engine: "Engine", asked: set[str]) -> None:
    """Say which nodes of the swarm nobody could ask: a manager does not know what images the others have."""
    from openbalena.cluster import state

    with engine.client() as client:
        if not client.info()["Swarm"].get("ControlAvailable"):
            context.console.warn("this engine is no manager, so the swarm's other nodes are not known")
            return
        cluster = state.read(client, "")
    unknown = [node.hostname for node in cluster.nodes if node.id not in asked]
    if unknown:
        context.console.warn(
            f"not known whether these nodes have the images: {', '.join(unknown)} "
            "(name them with --node, or set IMAGE_PREFIX to a registry)"
        )
