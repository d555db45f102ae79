"""Random faults under load: nothing that was acknowledged is lost, and everything becomes whole again by itself."""

import pytest
from deployed_project import tool
from faults import FAULTS
from soak import soak
from waiting import BOUND

from openbalena.base.project import Project

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

# With this seed the database's disk is slow for 10 s, then full for 19 s, and then node2 is lost.
SEED, SECONDS = 6616, 120
FIRST = {"fill the data's disk for up to 30 s", "slow the data's disk for up to 30 s"}


def test_two_minutes_of_faults_lose_no_row_and_everything_comes_back(deployed: Project) -> None:
    try:
        *_, done = soak(deployed, SEED, SECONDS, each=0, bound=BOUND)
    finally:
        deployed.override_file.unlink(missing_ok=True)
        assert tool(deployed, "swarm-up").returncode == 0
    assert FIRST <= {each.fault for each in done.outcomes} <= FAULTS.keys()
    assert done.acknowledged
    assert done.lost_and_twice(done.acknowledged) == (0, 0), done.outcomes
