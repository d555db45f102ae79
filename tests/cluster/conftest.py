"""One deployment on the lab for all cluster tests of a run, and a small one for each module that asks for it."""

import subprocess
from collections.abc import Iterator

import pytest
from log_streams import LogStreams
from swarm_project import Small, fetch_busybox

from openbalena.base.project import ROOT, Project
from openbalena.lab import Endpoint, paths, state

# Seconds: the demo has to be done in 10 minutes with nothing cached.
DEMO = 600


@pytest.fixture(scope="session")
def deployed_output(lab: Endpoint) -> str:
    """What `demo --keep` prints: it deploys on the tests' lab, once for all of them."""
    (paths.directory() / "demo").mkdir(mode=0o700, exist_ok=True)  # so that it takes the lab for its own
    done = subprocess.run(
        [ROOT / "open-balena.sh", "demo", "--keep"], capture_output=True, text=True, timeout=DEMO, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def deployed(deployed_output: str) -> Project:
    """The demo's deployment, running; a test that changes it puts it back."""
    return Project(directory=paths.directory() / "demo")


@pytest.fixture(scope="module")
def small(lab: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    """A small deployment, running, its volume on node1."""
    made = Small(tmp_path_factory.mktemp("small"), fetch_busybox(tmp_path_factory.mktemp("busybox")))
    with made.deployed():
        yield made


@pytest.fixture(scope="session")
def log_streams() -> LogStreams:
    """What is known of the nodes' streams of logs."""
    return LogStreams()


@pytest.fixture(autouse=True)
def logs_of_every_node(log_streams: LogStreams) -> None:
    """Tests that lose nodes for a moment leave the others an engine whose logs can be read."""
    if lab := state.load_lab():
        log_streams.restore(lab)
