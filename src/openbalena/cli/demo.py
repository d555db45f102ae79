"""A whole openBalena on this machine: three real Docker Engines, a swarm, the stack on it, and every check.

It needs root on Linux, a network for Debian's packages (no image registry), and takes less than 10 minutes the first
time, less than 3 after that. The api, VPN, registry and the rest are stand-ins built from Debian packages unless
--real-images is given. At the end everything is taken down unless --keep is given.
"""

import argparse
import importlib
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING

from openbalena.cli.commands import BY_NAME
from openbalena.cli.console import Console
from openbalena.cli.context import Context
from openbalena.errors import OpenBalenaError, OperationError
from openbalena.files import write_atomic
from openbalena.invocation import program

if TYPE_CHECKING:
    from openbalena.cluster.state import Cluster
    from openbalena.project import Project


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `demo`."""
    parser.add_argument("--keep", action="store_true", help="leave the lab and the deployment running")
    parser.add_argument(
        "--real-images",
        action="store_true",
        help="use openBalena's own images, not stand-ins; this machine's Docker has to have or pull them",
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Do it all; 1 when a step fails or is interrupted."""
    from openbalena import demo, settings
    from openbalena.lab.host import require_root
    from openbalena.settings.variables import variables

    require_root("demo")
    demo.forget_settings(list(variables()))
    project = demo.project()
    steps = Steps(replace(context, project=project, lab=True))
    signal.signal(signal.SIGTERM, _interrupt)
    status = 1
    try:
        _deploy(steps, project, args)
        with steps.step("Looking at what runs where"):
            cluster = _cluster(settings.load(project)["STACK_NAME"])
            context.console.say(f"ok    spread          {demo.require_spread(cluster)}")
        _conclude(steps, project, cluster, keep=args.keep)
        status = 0
    except (OpenBalenaError, OSError, KeyboardInterrupt) as error:
        context.console.progress(f"The demo failed {steps.where()}: {_reason(error)}")
    finally:
        _end(steps, keep=args.keep)
    return status


class Steps:
    """Says what is being done and how long all has taken so far; runs commands as the user would."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._started = time.monotonic()
        self._sentence = "before its first step"

    @contextmanager
    def step(self, sentence: str) -> Iterator[None]:
        """One step, announced; the sentence is remembered for a failure."""
        self._sentence = sentence
        self.say(f"{sentence} …")
        yield

    def command(self, sentence: str, name: str, *words: str, quiet: bool = False) -> None:
        """A step that is one command of the command line, `quiet` without its results.

        Raises OperationError where its exit code is not 0.
        """
        with self.step(f"{sentence} ({' '.join([name, *words])})"):
            module = importlib.import_module(f"openbalena.cli.{BY_NAME[name].module}")
            parser = argparse.ArgumentParser(prog=name, allow_abbrev=False)
            module.configure(parser)
            args = parser.parse_args(words)
            args.command = name
            if module.run(args, replace(self.context, console=_Quiet()) if quiet else self.context):
                raise OperationError(f"{name} did not succeed")

    def say(self, sentence: str) -> None:
        """A sentence with the seconds since the start."""
        self.context.console.say(f"[{time.monotonic() - self._started:4.0f} s] {sentence}")

    def where(self) -> str:
        """The step that was being done, for the message of a failure."""
        return f"at '{self._sentence}'"


class _Quiet(Console):
    """Progress and warnings alone: what comes next in the demo is not what the commands advise, and a join token is
    no business of whoever reads its output."""

    def say(self, text: str) -> None:
        pass


def _deploy(steps: Steps, project: "Project", args: argparse.Namespace) -> None:
    from openbalena.demo import DNS_TLD
    from openbalena.lab import lifecycle

    with steps.step("Starting three Docker Engines, each in a network of its own"):
        lifecycle.up()
    steps.command("Writing settings, tokens and certificates", "config", "--dns-tld", DNS_TLD, "--yes", quiet=True)
    if args.real_images:
        with steps.step("Bringing openBalena's own images to the lab"):
            _originals(steps, project)
    else:
        steps.say(
            "The images are stand-ins built from Debian packages (real PostgreSQL, Redis, HAProxy, registry, OpenVPN; "
            "the api is a small program)."
        )
    steps.command("Labelling the nodes", "swarm-init", quiet=True)
    steps.command("Building images and bringing them to every node", "swarm-build", quiet=True)
    steps.command("Deploying the stack and waiting until all of it runs", "swarm-up", "--yes", quiet=True)
    steps.command("Checking the deployment over its public ports", "verify")


def _originals(steps: Steps, project: "Project") -> None:
    """Bring openBalena's own images to the lab and name them in the demo's settings.

    This machine's Docker pulls them: the lab's nodes reach nothing outside. Raises OperationError where it cannot.
    """
    from openbalena.cluster import engine as engines
    from openbalena.images import originals
    from openbalena.operations import deployment

    try:
        chosen = originals.bring(
            deployment.load(project, lab=False),
            engines.current(lab=False),
            list(engines.current(lab=True).nodes),
            steps.context.console.progress,
        )
    except OperationError as error:
        raise OperationError(f"{error}. Without --real-images the demo uses stand-ins.") from None
    lines = "".join(f"{name}={image}\n" for name, image in chosen.items())
    write_atomic(project.env_file, project.env_file.read_text() + lines, 0o600)


def _cluster(stack: str) -> "Cluster":
    from openbalena.cluster import engine, state

    with engine.current(lab=True).client() as client:
        return state.read(client, stack)


def _conclude(steps: Steps, project: "Project", cluster: "Cluster", *, keep: bool) -> None:
    from openbalena import demo
    from openbalena.cluster import labels, placement

    console = steps.context.console
    steps.say("openBalena runs, and every check is green.")
    console.table([("SERVICE", "NODES"), *demo.placement(cluster)])
    if keep:
        ingress = labels.holders(cluster.nodes, placement.INGRESS_LABEL)
        console.say("To go on:")
        for line in demo.Guide(project, ingress[0].address).lines():
            console.say(line)
    else:
        console.say(f"To look around in it, run {program(project, lab=True)} demo --keep")


def _end(steps: Steps, *, keep: bool) -> None:
    if keep:
        steps.say(f"The lab stays up; {program(steps.context.project, lab=True)} lab down takes it down.")
        return
    from openbalena.lab import lifecycle

    steps.say("Taking the lab down …")
    try:
        lifecycle.down()
    except BaseException:
        again = f"{program(steps.context.project, lab=True)} lab down"
        steps.context.console.warn(f"the lab was not taken down completely: run {again}")
        raise
    steps.say("The lab is down; its cache of roots and images stays (lab down --purge removes it).")


def _reason(error: BaseException) -> str:
    return "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt
