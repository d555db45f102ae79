"""Random faults under load: nothing that was acknowledged is lost, and everything becomes whole again by itself."""

import pytest
from deployed_project import tool
from faults import FAULTS
from soak import soak
from waiting import BOUND

from openbalena.base.project import Project

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

# Those of disks need a lab whose nodes have separate ones; bench/random_faults.py makes them.
MADE = [name for name in FAULTS if "disk" not in name]
# With this seed a node is lost first.
SEED, SECONDS = 9, 120


def test_two_minutes_of_faults_lose_no_row_and_everything_comes_back(deployed: Project) -> None:
    try:
        *_, done = soak(deployed, SEED, SECONDS, each=0, bound=BOUND, faults=MADE)
    finally:
        deployed.override_file.unlink(missing_ok=True)
        assert tool(deployed, "swarm-up").returncode == 0
    assert {each.fault for each in done.outcomes} <= {*MADE} and len(done.outcomes) >= 2
    assert done.acknowledged
    assert done.lost_and_twice(done.acknowledged) == (0, 0), done.outcomes
