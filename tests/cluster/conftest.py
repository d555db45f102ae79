"""One deployment on the lab for all cluster tests of a run."""

import subprocess

import pytest

from openbalena.lab import Endpoint, paths
from openbalena.project import ROOT, Project

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
