"""A whole openBalena on this machine: three real Docker Engines, a swarm, the stack on it, and every check.

It needs root on Linux, access to Debian's packages (not to an image registry), and takes less than 10 minutes the first
time, less than 3 after that. The api, VPN, registry and the others are stand-ins built from Debian packages unless
--real-images is given. At the end everything is removed unless --keep is given.
"""

from __future__ import annotations

import argparse
import signal
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING

from openbalena.base.errors import OpenBalenaError
from openbalena.cli.context import Context
from openbalena.cli.reporter import ConsoleReporter
from openbalena.operations.hints import program

if TYPE_CHECKING:
    from openbalena.operations.demo import DemoResult


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `demo`."""
    parser.add_argument("--keep", action="store_true", help="leave the lab and the deployment running")
    parser.add_argument(
        "--real-images",
        action="store_true",
        help="use openBalena's own images, not stand-ins; this machine's Docker must have them or be able to pull them",
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Exit code 1 if a step fails or is interrupted."""
    from openbalena.operations.demo import DemoOptions, Steps, deploy_demo, end_demo, prepare_demo

    workspace = prepare_demo()
    ours = replace(context, project=workspace.project, lab=True)

    reporter, steps = ConsoleReporter(ours, yes=True), Steps(context.console.say)
    signal.signal(signal.SIGTERM, _interrupt)
    status = 1
    try:
        _show(deploy_demo(DemoOptions(args.real_images), workspace, reporter, steps), ours, keep=args.keep)
        status = 0
    except (OpenBalenaError, OSError, KeyboardInterrupt) as error:
        reason = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
        context.console.progress(f"The demo failed {steps.where}: {reason}")
    finally:
        end_demo(workspace, reporter, steps, keep=args.keep)
    return status


def _show(result: DemoResult, context: Context, *, keep: bool) -> None:
    from openbalena.operations.demo import Guide

    console = context.console
    console.table([("SERVICE", "NODES"), *result.placement])
    if keep:
        console.say("Next steps:")
        for line in Guide(context.project, result.address).lines():
            console.say(line)
    else:
        console.say(f"To explore it, run {program(context.project, lab=True)} demo --keep")


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt
