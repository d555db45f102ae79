"""Build every image of the stack, tag it by content, and distribute it to every node."""

import argparse

from openbalena.base.errors import OperationError
from openbalena.cli.context import Context
from openbalena.cli.reporter import ConsoleReporter
from openbalena.operations.hints import invocation


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--node",
        metavar="NODE",
        action="append",
        default=[],
        help="copy the images to this node: a Docker context, user@host or ssh://user@host (may be repeated)",
    )
    parser.add_argument(
        "--push",
        action="store_true",
        help="push the images to IMAGE_PREFIX, even if it does not name a registry host",
    )
    parser.add_argument("--verbose", action="store_true", help="show the full build output")


def run(args: argparse.Namespace, context: Context) -> int:
    """Builds only what does not exist yet; exit code 1 if a node lacks images in the end."""
    from openbalena.operations.build_images import BuildOptions, build_images

    console = context.console
    options = BuildOptions(tuple(args.node), args.push, args.verbose)
    result = build_images(options, context.workspace, ConsoleReporter(context))
    if not result.images:
        console.say("No service of this deployment has a build context.")
        return 0
    for image in result.images:
        console.say(f"{image.service}: {image.image} {'built' if image.built else 'already exists'}")
    if result.pushed:
        console.say(f"{len(result.images)} images pushed: every node pulls them from there.")
    for node in result.nodes:
        state = f"lacks {', '.join(node.missing)}" if node.missing else "has every image"
        console.say(f"{node.hostname}: {state}")
    if result.failures:
        raise OperationError("not every node has its images:\n  " + "\n  ".join(result.failures))
    console.say(f"Next: {invocation(context.project, lab=context.lab)} swarm-up")
    return 0
