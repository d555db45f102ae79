"""One PKI for the tests that only read it."""

from pathlib import Path

import pytest

from openbalena.secrets import pki


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("deployment") / "pki"
    pki.ensure(directory, "my.example.com")
    return directory
