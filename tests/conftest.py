"""One lab for all cluster tests of a run: three real Docker Engines, taken down at the end unless it ran before."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from openbalena.lab import Endpoint, endpoint, lifecycle, state

# An example's time says how busy the machine is: pytest's own timeout bounds what hangs.
settings.register_profile("openbalena", deadline=None)
settings.load_profile("openbalena")


@pytest.fixture(scope="session")
def lab() -> Iterator[Endpoint]:
    """The running lab; a developer's own (OPEN_BALENA_LAB_DIR, or the default) is used and left running."""
    if os.geteuid() != 0:
        pytest.skip("the lab needs root")
    ran_before = state.load_lab() is not None
    try:
        lifecycle.up()
        yield endpoint()
    finally:
        if not ran_before:
            lifecycle.down()
