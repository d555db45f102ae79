"""A whole openBalena on this machine: a lab, a deployment on it as a user would make it, and its removal.

The deployment has its own directory, domain and settings.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from openbalena import settings, verify
from openbalena.base.errors import OperationError, UsageError
from openbalena.base.files import private_directory, write_atomic
from openbalena.base.names import INGRESS_LABEL
from openbalena.base.project import Project
from openbalena.lab import lifecycle, paths, state
from openbalena.lab.host import require_root
from openbalena.operations import deployment, upstream_images
from openbalena.operations.build_images import BuildOptions, build_images
from openbalena.operations.configure import ConfigureOptions, configure
from openbalena.operations.deploy import DeployOptions, deploy
from openbalena.operations.engines import default_engine
from openbalena.operations.hints import invocation, program
from openbalena.operations.initialise_swarm import initialise_swarm
from openbalena.operations.reporter import Reporter
from openbalena.operations.verify import VerifyOptions, verify_deployment
from openbalena.operations.workspace import Workspace
from openbalena.settings.variables import variables
from openbalena.swarm import membership, placement
from openbalena.swarm import state as cluster_state
from openbalena.swarm.state import Cluster

# RFC 6761, section 6.2: never a real domain.
DNS_TLD = "openbalena.test"

# These must run on two nodes for the loss of one to interrupt nothing.
SPREAD = ("api", "registry")
# Seconds for each wait of the deploy, as swarm-up has by default.
_DEPLOY_TIMEOUT = 900.0


@dataclass(frozen=True)
class DemoOptions:
    """`real_images`: openBalena's own ones, not the stand-ins."""

    real_images: bool = False


@dataclass(frozen=True)
class DemoResult:
    """Each service with the nodes of its tasks, and the address of an ingress node."""

    placement: tuple[tuple[str, str], ...]
    address: str


@dataclass
class Steps:
    """Reports each step with the seconds since the start, as lines for `say`, and remembers it for a failure."""

    say: Callable[[str], None]
    _started: float = field(default_factory=time.monotonic)
    _current: str = ""

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Announce one step; a failure in it is reported as one of this step."""
        self._current = text
        self.announce(f"{text} …")
        yield

    def announce(self, text: str) -> None:
        """A message with the seconds since the start."""
        self.say(f"[{time.monotonic() - self._started:4.0f} s] {text}")

    @property
    def where(self) -> str:
        """The step that was in progress, for the message of a failure."""
        return f"at '{self._current}'" if self._current else "before its first step"


def prepare_demo() -> Workspace:
    """The demo's own workspace. Raises UsageError without root, or if a lab runs that the demo did not start."""
    require_root("demo")
    forget_settings(list(variables()))
    return Workspace(project(), lab=True)


def deploy_demo(options: DemoOptions, workspace: Workspace, reporter: Reporter, steps: Steps) -> DemoResult:
    """Start the lab, deploy on it, and verify the deployment. Raises OpenBalenaError for a step that fails."""
    with steps.step("Starting three Docker Engines, each in its own network"):
        lifecycle.up()
    with steps.step(f"Writing settings, tokens and certificates (config --dns-tld {DNS_TLD})"):
        configure(ConfigureOptions({"DNS_TLD": DNS_TLD}), workspace, reporter)
    if options.real_images:
        with steps.step("Copying openBalena's own images to the lab"):
            _use_original_images(workspace.project, reporter)
    else:
        steps.announce(
            "The images are stand-ins built from Debian packages (real PostgreSQL, Redis, HAProxy, registry, OpenVPN; "
            "the api is a small program)."
        )
    with steps.step("Labelling the nodes (swarm-init)"):
        initialise_swarm(membership.Options(), workspace, reporter)
    with steps.step("Building images and distributing them to every node (swarm-build)"):
        _build(workspace, reporter)
    with steps.step("Deploying the stack and waiting until every service runs (swarm-up)"):
        deploy(DeployOptions(_DEPLOY_TIMEOUT), workspace, reporter)
    with steps.step("Checking the deployment over its public ports (verify)"):
        _verify(workspace, reporter, steps)
    with steps.step("Checking where the tasks run"):
        cluster = _read_cluster(settings.read(workspace.project)["STACK_NAME"])
        steps.say(f"ok    spread          {require_spread(cluster)}")
    steps.announce("openBalena is running, and every check passed.")
    ingress = placement.nodes_with_label(cluster.nodes, INGRESS_LABEL)
    return DemoResult(tuple(service_placement(cluster)), ingress[0].address)


def end_demo(workspace: Workspace, reporter: Reporter, steps: Steps, *, keep: bool) -> None:
    """Remove the lab with everything on it, unless `keep`."""
    remove = f"{program(workspace.project, lab=True)} lab down"
    if keep:
        steps.announce(f"The lab is kept; to remove it, run {remove}")
        return
    steps.announce("Removing the lab …")
    try:
        lifecycle.down()
    except BaseException:
        reporter.warn(f"the lab was not removed completely: run {remove}")
        raise
    steps.announce("The lab is down; its cache of roots and images is kept (lab down --purge removes it).")


def _build(workspace: Workspace, reporter: Reporter) -> None:
    result = build_images(BuildOptions(), workspace, reporter)
    if result.failures:
        raise OperationError("not every node has its images:\n  " + "\n  ".join(result.failures))


def _verify(workspace: Workspace, reporter: Reporter, steps: Steps) -> None:
    width = max(len(check.name) for check in verify.CHECKS)
    result = verify_deployment(VerifyOptions(), workspace, reporter, lambda check: steps.say(check.line(width)))
    if not result.passed:
        raise OperationError("a check failed")


def _use_original_images(project: Project, reporter: Reporter) -> None:
    """Copy openBalena's own images to the lab, and name them in the demo's settings.

    This machine's Docker pulls them: the lab's nodes have no outbound access. Raises OperationError if it cannot.
    """
    try:
        chosen = upstream_images.copy_to(
            deployment.load(project, lab=False),
            default_engine(lab=False),
            list(default_engine(lab=True).nodes),
            reporter.progress,
        )
    except OperationError as error:
        raise OperationError(f"{error}. Without --real-images the demo uses stand-ins.") from None
    lines = "".join(f"{name}={image}\n" for name, image in chosen.items())
    write_atomic(project.env_file, project.env_file.read_text() + lines, 0o600)


def _read_cluster(stack: str) -> Cluster:
    with default_engine(lab=True).client() as client:
        return cluster_state.read_cluster(client, stack)


def project() -> Project:
    """The demo's own deployment: below the lab's directory, so that it is removed with the lab, away from any `.env`.

    Raises UsageError if a lab runs that the demo did not start.
    """
    directory = paths.directory() / "demo"
    if state.load_lab() is None:
        # Left by a demo that was killed: its data is gone with its nodes.
        shutil.rmtree(directory, ignore_errors=True)
    elif not directory.exists():
        raise UsageError(
            f"a lab runs in {paths.directory()} that the demo did not start: run ./open-balena.sh lab down first, or "
            f"set {paths.VARIABLE} to another directory for the demo."
        )
    return Project(directory=private_directory(directory))


def forget_settings(names: Sequence[str]) -> None:
    """Remove the user's own settings (`names`) from this process's environment: the demo has its own."""
    for name in names:
        os.environ.pop(name, None)


def service_placement(cluster: Cluster) -> list[tuple[str, str]]:
    """Each service's short name and the nodes its running tasks are on, services in order of their names."""
    rows = []
    for service in cluster.services:
        tasks = [task for task in cluster.tasks_of(service) if task.wanted and task.state == "running"]
        nodes = sorted(cluster.hostname(task.node_id) for task in tasks)
        rows.append((service.short_name, ", ".join(nodes) or "-"))
    return rows


def require_spread(cluster: Cluster) -> str:
    """Where each service of SPREAD runs. Raises OperationError if it is not on two nodes."""
    where = dict(service_placement(cluster))
    for name in SPREAD:
        nodes = set(where.get(name, "-").split(", "))
        if len(nodes) < 2:
            raise OperationError(
                f"{name} runs on {where.get(name, 'no node')}, expected 2 tasks on 2 nodes: "
                "see ./open-balena.sh --lab swarm-status"
            )
    return "; ".join(f"{name} on {where[name]}" for name in SPREAD)


@dataclass(frozen=True)
class Guide:
    """How to continue with a demo that was kept; `address` is that of an ingress node."""

    project: Project
    address: str

    def lines(self) -> list[str]:
        """Commands to copy, each with what it does."""
        tool, ours = program(self.project, lab=True), invocation(self.project, lab=True)
        certificate = self.project.pki / "ca-bundle.pem"
        api = f"curl --cacert {certificate} --resolve api.{DNS_TLD}:443:{self.address} https://api.{DNS_TLD}"
        return [
            f"  {ours} swarm-status        # nodes, services, tasks",
            f"  {ours} swarm-logs api      # its tasks' logs, interleaved",
            f"  {ours} verify              # the checks again",
            f"  {ours} showpass            # the superuser's password",
            f"  {api}/ping",
            f"  {tool} lab kill node3      # a power cut; lab start node3 restores it",
            f"  {tool} lab shell node1     # a shell on a node",
            f"  {tool} lab down            # remove everything",
        ]
