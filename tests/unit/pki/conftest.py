"""One PKI for the tests that only read it."""

from pathlib import Path

import pytest

from openbalena.pki import store


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("deployment") / "pki"
    store.ensure_files(directory, "my.example.com")
    return directory
