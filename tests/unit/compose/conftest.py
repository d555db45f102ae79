"""What the tests of compose share: a project from text, the corpus, docker-compose."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import debian
import pytest
from corpus_cases import cases as cases
from corpus_cases import pytest_generate_tests as pytest_generate_tests
from hypothesis import settings

from openbalena import compose

Load = Callable[..., compose.Project]

# How long an example takes says more about the machine than about us.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """`load(text, more text, environment={}, …)`: each text is a file of the project, merged in order."""

    def loaded(*texts: str, **options: Any) -> compose.Project:
        files = []
        for index, text in enumerate(texts):
            files.append(tmp_path / f"compose{index or ''}.yml")
            files[-1].write_text(text)
        return compose.load(files, **{"environment": {}, **options})

    return loaded


@pytest.fixture(scope="session")
def docker_compose() -> Path:
    """docker-compose of Debian trixie (2.26)."""
    try:
        return debian.program("docker-compose", "usr/libexec/docker/cli-plugins/docker-compose")
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"docker-compose cannot be had from Debian: {error}")
