"""Lint, formatting, types and shell scripts: as tests, so that one run and one summary says everything."""

import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = re.compile(rb"#!.*[/ ]python3?( |$)")
SHELL = re.compile(rb"#!.*[/ ](ba|da)?sh( |$)")
# Lines of a module, which is read in one go.
LONGEST = 300


def sources(pattern: str = "*") -> list[Path]:
    """The project's own files: nothing below a hidden directory but .ci."""
    return [
        path
        for path in sorted(ROOT.rglob(pattern))
        if path.is_file() and not any(re.match(r"\.(?!ci$)", part) for part in path.relative_to(ROOT).parts[:-1])
    ]


def first_line(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.readline(200).rstrip()


@pytest.mark.parametrize(
    "command",
    [("ruff", "check", "--output-format=concise", "."), ("ruff", "format", "--check", "."), ("mypy",)],
    ids=" ".join,
)
def test_python(command: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_types_are_checked_in_every_python_file() -> None:
    """All but one, whose name would hide a module of Python's from the others."""
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["files"]
    checked = [ROOT / name for name in named]
    assert [
        str(path.relative_to(ROOT))
        for path in sources()
        if (path.suffix == ".py" and not any(path.is_relative_to(each) for each in checked))
        or (path.suffix != ".py" and PYTHON.match(first_line(path)) and path not in checked)
    ] == ["lab/balena-ca/sqlite3"]


def shell_scripts() -> list[Path]:
    return [path for path in sources() if SHELL.match(first_line(path))]


@pytest.mark.parametrize(
    ("program", "option", "files"),
    [
        ("shellcheck", "--color=never", shell_scripts),
        ("hadolint", "--no-color", lambda: sources("Dockerfile*")),
    ],
    ids=["shellcheck", "hadolint"],
)
def test_scripts_and_dockerfiles(program: str, option: str, files: Callable[[], list[Path]]) -> None:
    """The programs are among the development tools."""
    found = files()
    assert found
    done = subprocess.run(
        [Path(sys.executable).parent / program, option, *found],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_modules_are_short() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in sources("*.py") if ROOT / "src" in path.parents}
    assert {str(path): length for path, length in lengths.items() if length > LONGEST} == {}


def test_modules_of_tests_have_names_of_their_own() -> None:
    """pytest imports them by these (its import mode prepend), so a second one is found only when all are run."""
    names = [path.name for path in sources("*.py") if ROOT / "tests" in path.parents]
    assert [
        name for name in sorted(set(names)) if names.count(name) > 1 and name not in ("conftest.py", "__init__.py")
    ] == []


@pytest.mark.parametrize(
    "name",
    [
        ".env",
        ".deployed",
        ".upgrading",
        "docker-compose.override.yml",
        "docker-compose.nfs.yml",
        "docker-stack-nfs.yml",
    ],
)
def test_git_takes_no_secret_that_a_kill_left_beside_its_file(name: str, tmp_path: Path) -> None:
    descriptor, half_made = tempfile.mkstemp(prefix=f".{name}.", dir=tmp_path)  # as files.write_atomic
    os.close(descriptor)
    for path in (name, Path(half_made).name, ".pki.adopting/ca-0-key.pem"):
        done = subprocess.run(["git", "check-ignore", "--no-index", path], cwd=ROOT, capture_output=True, check=False)
        assert done.returncode == 0, path


# Modules that look for Docker's own words in an error, since the Engine has no code for it.
DOCKERS_WORDS = {"docker/retry.py", "swarm/membership.py", "machine/deployment.py"}
READS_AN_ERROR = re.compile(r"in str\((error|problem|finding)\)|(str\((error|problem|finding)\)|error\.args.*)\.\w+\(")


def test_no_module_reads_the_text_of_an_error() -> None:
    """Errors and problems have fields for whoever decides by them (base.errors)."""
    source = ROOT / "src" / "openbalena"
    found = {str(path.relative_to(source)) for path in sources("*.py") if path.is_relative_to(source)
             and READS_AN_ERROR.search(path.read_text())}  # fmt: skip
    assert found == DOCKERS_WORDS
