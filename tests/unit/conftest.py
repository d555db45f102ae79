"""What unit tests of several packages use."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from fake_engine import FakeEngine, fake_engine, patched


@pytest.fixture
def fake() -> Iterator[FakeEngine]:
    """A fake engine without a swarm; our code's waiting moves its clock on and takes no time."""
    # A directory with a short name: that of a Unix socket has at most 107 characters (unix(7)).
    with TemporaryDirectory() as directory, fake_engine(Path(directory)) as running, patched(running.swarm.clock):
        yield running
