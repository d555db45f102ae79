"""What the tests of the compiler share: a compiled project from text, and docker's opinion of a stack."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import debian
import pytest
from corpus_cases import cases as cases
from corpus_cases import pytest_generate_tests as pytest_generate_tests
from hypothesis import settings

from openbalena import compose, stack

Compile = Callable[..., stack.Compiled]

# How long an example takes says more about the machine than about us.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture
def compiled(tmp_path: Path) -> Compile:
    """`compiled(text, environment={}, …)`: the text as a stack, errors among the diagnostics."""

    def compile_text(text: str, **options: Any) -> stack.Compiled:
        path = tmp_path / "compose.yml"
        path.write_text(text)
        return stack.analyse(compose.load([path], **{"environment": {}, **options}))

    return compile_text


@pytest.fixture(scope="session")
def docker() -> Path:
    """The docker CLI: the machine's, else Debian's. `docker stack config` needs no engine."""
    found = shutil.which("docker")
    if found:
        return Path(found)
    try:
        return debian.program("docker-cli", "usr/bin/docker")
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"the docker CLI cannot be had from Debian: {error}")


# How long an example takes says more about the machine than about us.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture
def accepted(docker: Path, tmp_path: Path) -> Callable[..., str]:
    """`accepted(text, …)` is what `docker stack config` makes of the texts together; it fails where docker refuses."""

    def config(*texts: str) -> str:
        arguments = []
        for index, text in enumerate(texts):
            path = tmp_path / f"stack{index}.yml"
            path.write_text(text)
            arguments += ["-c", str(path)]
        done = subprocess.run(
            [docker, "stack", "config", *arguments], env={"HOME": str(tmp_path)}, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    return config
