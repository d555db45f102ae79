"""Making, deploying to, reading and emptying a swarm: swarm-init, -build, -up, -logs, -down."""

from __future__ import annotations

from argparse import Namespace
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

from openbalena.base.errors import OperationError, UsageError
from openbalena.cli.argument_types import DEFAULT_LINES, service_number, whole
from openbalena.cli.console import Context
from openbalena.cli.options import JSON, QUIET, command, flag, log_lines, node, one_of, option, take_over, timeout
from openbalena.operations.next_steps import next_steps

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from openbalena.operations.build_images import BuildResult
    from openbalena.operations.service_logs import LogOptions
    from openbalena.operations.teardown import TeardownResult
    from openbalena.swarm.audit import Entry
    from openbalena.swarm.releases import Release


@command(
    option("--advertise-addr", metavar="ADDRESS", default="", help="address by which the other nodes reach this one"),
    option(
        "--data-path-port",
        metavar="PORT",
        type=whole,
        default=0,
        help="UDP port of the overlay networks (default: 4789)",
    ),
    option(
        "--default-addr-pool",
        metavar="CIDR",
        action="append",
        default=[],
        help="address pool of the overlay networks, such as 10.20.0.0/16 (may be repeated; default: 10.0.0.0/8)",
    ),
)
def swarm_init(args: Namespace, context: Context) -> None:
    """Make this node a manager, set the labels that no node has yet, and print the join commands."""
    # Safe to repeat: an existing swarm and labels that are set are kept.
    from openbalena.operations.initialise_swarm import initialise_swarm
    from openbalena.swarm.membership import Options

    say = context.console.say
    options = Options(args.advertise_addr, args.data_path_port, args.default_addr_pool)
    result = initialise_swarm(options, context.workspace, context.console)
    before, now = "This node is already a manager of a swarm.", "This node is now the first manager of a new swarm."
    say(now if result.created else before)
    for label in result.labels:
        say(f"  {label.label}=true  {'set on' if label.added else 'is on'} {', '.join(label.hostnames)}")
    for role, join in result.join_commands.items():
        say(f"To add a {role}, run on that node:\n  {join}")
    say(f"Or add a node from here, over ssh:\n  {context.program} swarm-join HOST")
    if result.ready_to_build:
        say(f"Next: {context.program} swarm-build, once every node has joined")


@command(
    node("copy the images to this node"),
    flag("--push", "push the images to IMAGE_PREFIX, even if it does not name a registry host"),
    one_of(QUIET, flag("--verbose", "show the full build output")),
    JSON,
)
def swarm_build(args: Namespace, context: Context) -> None:
    """Build every image of the stack, tag it by content, and distribute it to every node.

    Builds only what does not exist yet. The exit code is 1 if a node lacks images in the end.
    """
    from openbalena.operations.build_images import BuildOptions, build_images

    result = build_images(BuildOptions(tuple(args.node), args.push, args.verbose), context.workspace, context.console)
    if args.json:
        context.console.json(asdict(result))
    else:
        _show_build(result, context)
    if result.failures:
        raise OperationError("not every node has its images:\n  " + "\n  ".join(result.failures))


def _show_build(result: BuildResult, context: Context) -> None:
    say = context.console.say
    if not result.images:
        say("No service of this deployment has a build context.")
        return
    for image in result.images:
        say(f"{image.service}: {image.image} {'built' if image.built else 'already exists'}")
    if result.pushed:
        say(f"{len(result.images)} images pushed: every node pulls them from there.")
    for each in result.nodes:
        state = f"lacks {', '.join(each.missing)}" if each.missing else "has every image"
        say(f"{each.hostname}: {state}")
    if not result.failures:
        say(f"Next: {context.program} swarm-up")


@command(
    timeout(900.0),  # a roll of two tasks of the api takes 180 by its delay and monitor, and 120 to 480 for the starts
    flag("--no-wait", "do not wait until the services are running"),
    one_of(JSON, flag("--dry-run", "print the stack, secrets masked, without deploying it")),
    flag("--yes", "do not prompt before a service with data is removed"),
    option("--message", metavar="TEXT", default="", help="why this is deployed, for swarm-history"),
    take_over(),
)
def swarm_up(args: Namespace, context: Context) -> None:
    """Check, render and deploy the stack, then wait until every service is running.

    The exit code is 1 if something keeps the stack from running; every problem is named.
    """
    from openbalena.operations.deploy import DeployOptions, deploy

    if args.dry_run:
        _dry_run(context)
        return
    options = DeployOptions(args.timeout, not args.no_wait, args.take_over, args.message)
    result = deploy(options, context.workspace, context.console)
    say, stack = context.console.say, result.settings["STACK_NAME"]
    if args.json:
        context.console.json({"stack": stack, "converged": result.converged, "release": result.release})
        return
    if result.converged is None:
        say(f"{stack} was submitted to Docker; run swarm-status to follow it.")
        return
    say(f"{stack} is running: {result.converged} services have converged.")
    if result.release is not None:
        say(f"This is release {result.release} (swarm-history lists all).")
    say(*next_steps(result.settings, context.workspace))


def _dry_run(context: Context) -> None:
    from openbalena.operations.stack_preview import PreviewOptions, preview_stack

    preview = preview_stack(PreviewOptions(), context.workspace)
    context.console.warn(*preview.warnings)
    context.console.say(preview.masked_text)
    if preview.placeholder_warning:
        context.console.warn(preview.placeholder_warning)


@command(
    option("service", nargs="+", metavar="SERVICE=N", type=service_number, help="a service and its number of tasks"),
    timeout(300.0),
    flag("--yes", "do not prompt before all tasks of a service are stopped"),
    take_over(),
)
def swarm_scale(args: Namespace, context: Context) -> None:
    """Change how many tasks services have, and wait until they run.

    swarm-up keeps these numbers until the definition asks for others.

    The exit code is 1 if a service cannot have that many, with the reason, or its tasks do not run.
    """
    from openbalena.operations.scale_services import ScaleOptions, scale_services

    scale_services(ScaleOptions(dict(args.service), args.timeout, args.take_over), context.workspace, context.console)
    context.console.say(*(f"{name} has {number} task{'s' * (number != 1)}." for name, number in args.service))


@command(
    option("count", nargs="?", metavar="N", type=whole, default=10, help="show the last N (default: 10)"),
    flag("--all", "show every command that changed the cluster, not only the releases"),
    JSON,
)
def swarm_history(args: Namespace, context: Context) -> None:
    """Show the stack's releases, the newest first: when, by whom, what changed, and how it ended.

    With --all: the last commands that changed the cluster, those that failed too.
    """
    from openbalena.operations.audit import list_commands
    from openbalena.operations.releases import list_releases

    if args.all:
        found: Sequence[Release | Entry] = list_commands(context.workspace)
        head: tuple[str, ...] = ("STARTED", "BY", "OUTCOME", "SECONDS", "COMMAND")
    else:
        found = list_releases(context.workspace)
        head = ("RELEASE", "STARTED", "BY", "OUTCOME", "SECONDS", "CHANGES")
    found = found[: args.count]
    if args.json:
        context.console.json([each.record() for each in found])
    elif not found:
        context.console.say("no commands" if args.all else "no releases")
    else:
        context.console.table([head, *(each.row() for each in found)])


@command(
    option("release", nargs="?", metavar="RELEASE", type=whole, help="a number (default: the last successful one)"),
    option("service", nargs="?", metavar="SERVICE", default="", help="roll back only this service"),
    timeout(900.0),
    flag("--yes", "do not prompt if it is not known whether the api runs on the database's schema"),
    JSON,
    take_over(),
)
def swarm_rollback(args: Namespace, context: Context) -> None:
    """Deploy an earlier release again, with its settings, secrets, images and definitions.

    The settings and files of this machine are not changed: the next swarm-up deploys them again.

    The exit code is 1 if the release cannot be deployed any more, or a service does not run.
    """
    from openbalena.operations.rollback import RollbackOptions, roll_back

    options = RollbackOptions(args.release, args.service, args.timeout, args.take_over)
    result = roll_back(options, context.workspace, context.console)
    if args.json:
        again, recorded = result.release.number, result.recorded
        context.console.json({"stack": result.stack, "release": again, "service": args.service, "recorded": recorded})
    else:
        what = f"{args.service} of release" if args.service else "release"
        context.console.say(f"{result.stack} runs {what} {result.release.number} again.")
    context.console.warn("the settings of this machine are unchanged: the next swarm-up deploys them again")


@command(
    option("services", nargs="*", metavar="SERVICE", help="services of the stack (default: list them)"),
    *log_lines("task"),
)
def swarm_logs(args: Namespace, context: Context) -> None:
    """Show the logs of services from all their tasks, each line with its task and node."""
    from openbalena.operations.service_logs import LogOptions, follow_logs, list_services

    if not args.services:
        context.console.say(*list_services(context.workspace))
        return
    options = LogOptions(tuple(args.services), DEFAULT_LINES if args.tail is None else args.tail, args.since or "")
    if not args.follow:
        _show_logs(options, context, chosen=args.tail is not None)
        return
    followed = follow_logs(options, context.workspace, context.console)
    with suppress(KeyboardInterrupt):
        for line in followed:
            context.console.say(line)


def _show_logs(options: LogOptions, context: Context, *, chosen: bool) -> None:
    """`chosen`: the user knows that only some lines are shown."""
    from openbalena.operations.service_logs import read_logs

    result = read_logs(options, context.workspace)
    context.console.say(*result.lines)
    context.console.warn(*result.missing)
    if not chosen and result.truncated:
        tasks = ", ".join(result.truncated)
        context.console.warn(f"{tasks}: only the last {options.tail} lines are shown; --tail N shows more")
    if result.failure:
        raise OperationError(result.failure)


@command(
    flag("--volumes", "remove volumes and settings too: all data is lost"),
    flag("--yes", "do not prompt before volumes are removed"),
    take_over(),
    node("another node that has volumes"),
    timeout(300.0),  # the longest stop_grace_period is the VPN's, 150 s
)
def swarm_down(args: Namespace, context: Context) -> None:
    """Remove the stack and wait until it is gone.

    Its volumes, and the settings and PKI that their data needs, are kept unless --volumes is given.

    The exit code is 1 if something of the stack is left, or a volume that --volumes should have removed.
    """
    from openbalena.operations.teardown import TeardownOptions, tear_down

    if args.node and not args.volumes:
        raise UsageError("swarm-down: --node requires --volumes")
    options = TeardownOptions(args.timeout, args.volumes, tuple(args.node), args.take_over)
    result = tear_down(options, context.workspace, context.console)
    context.console.say(*_removed(result, volumes=args.volumes))
    if result.failures:
        raise OperationError("not everything was removed:\n  " + "\n  ".join(result.failures))


def _removed(result: TeardownResult, *, volumes: bool) -> Iterator[str]:
    yield f"Removed the stack {result.stack}." if result.existed else f"There is no stack {result.stack}."
    if volumes:
        yield f"Removed {result.removed_volumes} volume{'s' * (result.removed_volumes != 1)}."
        if result.nfs_volumes:
            yield (
                f"The data of {', '.join(result.nfs_volumes)} is kept on the NFS server; swarm-up will reuse it. Once "
                "it is deleted there, run swarm-down --volumes again to delete the settings too."
            )
    else:
        whose = "Its volumes are kept" if result.existed else "Remaining volumes are kept"
        yield f"{whose}; swarm-up will reuse them, swarm-down --volumes removes them."
    if result.settings_secret:
        yield (
            f"Settings, tokens and PKI are kept in the Swarm secret {result.settings_secret}. Another machine can "
            "fetch them with config --from-cluster; deploys with different ones will be refused."
        )
