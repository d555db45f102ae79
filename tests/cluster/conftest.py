"""One lab for all cluster tests of a run: three real Docker Engines, taken down at the end unless it ran before."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from openbalena.lab import Endpoint, endpoint, lifecycle, paths, state
from openbalena.project import ROOT, Project

# Seconds: the demo has to be done in 10 minutes with nothing cached.
DEMO = 600


@pytest.fixture(scope="session")
def lab() -> Iterator[Endpoint]:
    """The running lab; a developer's own (OPEN_BALENA_LAB_DIR, or the default) is used and left running."""
    if os.geteuid() != 0:
        pytest.skip("the lab needs root")
    ran_before = state.load() is not None
    try:
        lifecycle.up()
        yield endpoint()
    finally:
        if not ran_before:
            lifecycle.down()


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
