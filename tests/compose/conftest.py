"""What the tests of one machine share: a deployment that `config` has made, and that nothing is left of."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import DNS_TLD, Machine

from openbalena.lab import Endpoint


@pytest.fixture(scope="module")
def machine(
    request: pytest.FixtureRequest, lab: Endpoint, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    """A deployment of the test module's own, with settings and certificates; nothing of it runs yet."""
    name = request.module.__name__.removeprefix("test_")
    directory: Path = tmp_path_factory.mktemp(name) / f"obtest-{name}"
    directory.mkdir()
    made = Machine(directory, lab)
    made.run("config", "--dns-tld", DNS_TLD, "--yes")
    try:
        yield made
    finally:
        made.run("destroy", "--yes", code=None)
