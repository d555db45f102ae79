"""What the tests of the commands share: a directory in which `config` has run."""

from pathlib import Path

import pytest

from openbalena.cli.main import main


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Settings, tokens and PKI of my.example.com, made once; a test copies what it changes."""
    directory = tmp_path_factory.mktemp("made")
    assert main(["--project-directory", str(directory), "config", "--dns-tld", "my.example.com", "--yes"]) == 0
    return directory
