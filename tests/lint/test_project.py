"""The project's own facts: one version, one licence, and a changelog that can be read by programs."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path

from messages import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from openbalena import __version__

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_version_is_in_one_place() -> None:
    assert "version" not in PROJECT["project"] and PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "openbalena.__version__"}
    command: list[str | Path] = [sys.executable, ROOT / "src" / "openbalena" / "__main__.py", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == f"open-balena.sh {__version__}\n"


def test_the_licence_is_named_and_there() -> None:
    assert PROJECT["project"]["license"] == "Apache-2.0" and PROJECT["project"]["license-files"] == ["LICENSE"]
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text and "END OF TERMS AND CONDITIONS" in text


def test_the_changelog_has_the_form_of_keep_a_changelog() -> None:
    headings = re.findall(r"^##+ (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    versions = [heading for heading in headings if heading.startswith("[")]
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert versions[0] == "[Unreleased]"
    assert [name for name in versions[1:] if not re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d{2}-\d{2}", name)] == []
    assert set(headings) - set(versions) <= kinds


def test_the_lock_names_all_that_is_needed() -> None:
    """pip does not look: it installs what the lock names. The development lock leaves out parts of Cosmic Ray's."""
    locked = set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    todo, needed = list(map(Requirement, PROJECT["project"]["dependencies"])), set()
    while todo:
        name = canonicalize_name(todo.pop().name)
        if name not in needed:
            needed.add(name)
            own = map(Requirement, requires(name) or [])
            todo += [each for each in own if each.marker is None or each.marker.evaluate({"extra": ""})]
    assert needed <= locked
    command = [sys.executable, "-I", "-m", "pip", "--disable-pip-version-check", "check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    found = done.stdout.splitlines()
    assert found
    assert [line for line in found if not line.startswith(("cosmic-ray ", "No broken requirements"))] == []
