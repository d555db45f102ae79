"""The demo's deployment: every check is green, and one token less in one service's secret is found and named.

The fixture `deployed` is `demo --keep`, run once for all cluster tests.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import acceptance
import pytest
from deployed_project import tool
from lab_target import lab_target

from openbalena import verify
from openbalena.base.project import ROOT, Project
from openbalena.lab import Endpoint, paths
from openbalena.operations.engines import default_engine
from openbalena.swarm import deploy, report, state, watch

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

STACK = "openbalena"


def test_every_check_is_named_and_green(deployed_output: str) -> None:
    lines = [line.split() for line in deployed_output.splitlines()]
    outcomes = {words[1]: words[0] for words in lines if words and words[0] in ("ok", "FAIL", "skip")}
    assert outcomes == acceptance.GREEN | {"spread": "ok"}


def test_says_what_runs_where_and_how_to_go_on(deployed_output: str, deployed: Project) -> None:
    assert "SERVICE" in deployed_output
    assert f"--lab --project-directory {deployed.directory} swarm-status" in deployed_output


def test_the_status_of_the_whole_cluster_is_one_screen(deployed: Project) -> None:
    done = tool(deployed, "swarm-status", COLUMNS="")
    lines = (done.stderr + done.stdout).splitlines()
    assert done.returncode == 0 and "services run" in lines[0] and "reachable at node1, node2" in lines[0], lines
    assert sum(" converged " in line for line in lines) >= 9
    assert len(lines) <= 24 and max(map(len, lines)) <= 80, "\n".join(lines)


@pytest.fixture
def subject(deployed: Project, lab: Endpoint) -> acceptance.Subject:
    where = lab_target(deployed)
    return acceptance.Subject(deployed.directory, where.addresses, lab.cli.parent / "openvpn")


class TestAcceptance(acceptance.Acceptance):
    """On the swarm."""

    answering = acceptance.Acceptance.answering | {"swarm-status", "storage show", "stack diff"}


def test_interrupted_demo_takes_its_lab_down(lab: Endpoint, tmp_path: Path) -> None:
    """In a lab of its own beside the tests', from the same roots."""
    directory = tmp_path / "lab"
    directory.mkdir()
    for cache in ("roots", "tools"):
        (directory / cache).symlink_to(paths.directory() / cache)
    environment = {**os.environ, paths.VARIABLE: str(directory)}
    with subprocess.Popen(
        [ROOT / "open-balena.sh", "demo"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as demo:
        said = ""
        for line in demo.stdout or ():
            said += line
            if "] Building images" in line:
                demo.send_signal(signal.SIGINT)
    assert demo.returncode == 1, said
    assert (
        "The demo failed at 'Building images and distributing them to every node (swarm-build)': interrupted" in said
    ), said
    assert "The lab is down" in said
    assert {path.name for path in directory.iterdir()} <= {"roots", "tools", "images", "locks", "log"}


@pytest.fixture(scope="module")
def whole(deployed: Project) -> Iterator[Project]:
    """The deployment, deployed whole again after the last test that broke it."""
    yield deployed
    assert roll_out(deployed.rendered) == ""


def test_secret_that_each_task_makes(whole: Project, tmp_path: Path) -> None:
    """A registry without its secret takes one of its own: an upload that the other task goes on with is refused."""
    directory = without(whole.rendered, tmp_path, "registry", "REGISTRY2_SECRETKEY")
    assert roll_out(directory) == ""
    results = verify.run_checks(verify.CHECKS, lab_target(whole), lambda _: None)
    failed = [result for result in results if result.outcome == "FAIL"]
    found = [(result.check.name, str(result.suspect)) for result in failed]
    assert found == [("registry", "REGISTRY2_SECRETKEY of registry")], [result.line() for result in failed]


def test_token_without_which_no_task_starts(whole: Project, tmp_path: Path) -> None:
    """The VPN's image invents nothing: swarm-up fails and shows what the task said."""
    words = roll_out(without(whole.rendered, tmp_path, "vpn", "VPN_SERVICE_API_KEY"))
    assert "  vpn on node" in words
    assert "not set: VPN_SERVICE_API_KEY" in words


def without(rendered: Path, scratch: Path, service: str, variable: str) -> Path:
    """A copy of the rendered stack without the line of `variable`, which has to be there, in one service's secret."""
    directory = scratch / "deploy"
    shutil.copytree(rendered, directory)
    file = directory / "secrets" / f"{service}.env"
    lines = file.read_text().splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith(f"{variable}=")]
    assert len(kept) == len(lines) - 1
    file.write_text("".join(kept))
    return directory


def roll_out(directory: Path) -> str:
    """Deploy the stack rendered in `directory` and wait; what swarm-up would say of its failure, "" without one."""
    manager = default_engine(lab=True)
    with manager.client() as client:
        before = frozenset(task.id for task in state.read_cluster(client, STACK).tasks)
        deploy.submit_stack(manager, directory, STACK, resolve=False)
        outcome = watch.wait_until_converged(client, STACK, 400, before, lambda _: None)
    return report.failure_report(outcome, manager, lambda text: text) if outcome.reason else ""
