"""`lint` says that settings and definitions are right, or where they are not."""

from pathlib import Path

import pytest

from openbalena import sources
from openbalena.cli.main import main
from openbalena.invocation import invocation
from openbalena.project import ROOT, Project


def lint(directory):
    return main(["--project-directory", str(directory), "lint"])


def test_what_config_wrote_is_right(tmp_path, capsys):
    assert main(["--project-directory", str(tmp_path), "config", "--dns-tld", "my.example.com", "--yes"]) == 0
    capsys.readouterr()
    assert lint(tmp_path) == 0
    settings, definitions, stacks, *_ = capsys.readouterr().out.splitlines()
    assert stacks == "3 stack files: right, by the stack validator"
    assert settings.startswith(f"{tmp_path}/.env: right")
    assert "docker-compose.yml: right" in definitions


def test_without_settings_it_says_to_run_config(tmp_path, capsys):
    assert lint(tmp_path) == 2
    assert f"run {invocation(Project(tmp_path), lab=False)} config" in capsys.readouterr().err


def test_an_override_that_is_wrong_is_named_with_its_line(tmp_path, capsys):
    main(["--project-directory", str(tmp_path), "config", "--dns-tld", "my.example.com", "--yes"])
    (tmp_path / "docker-compose.override.yml").write_text("services:\n  api:\n    imaage: nginx\n")
    capsys.readouterr()
    assert lint(tmp_path) == 2
    assert "docker-compose.override.yml:3" in capsys.readouterr().err


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """A directory that is all of PATH: which linters are there is the test's choice."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))
    main(["--project-directory", str(tmp_path), "config", "--dns-tld", "my.example.com", "--yes"])
    return directory


def program(path: Path, says: str, code: int):
    path.write_text(f"#!/bin/sh\necho '{says}'\nexit {code}\n")
    path.chmod(0o755)


def test_a_linter_that_is_not_there_is_named(tools, tmp_path, capsys):
    program(tools / "shellcheck", "", 0)
    assert lint(tmp_path) == 0
    out, err = capsys.readouterr()
    assert f"{len(sources.shell_scripts(ROOT))} shell scripts: right, by shellcheck" in out
    assert "warning: Dockerfiles were not checked: hadolint is not installed" in err


def test_what_a_linter_says_is_shown(tools, tmp_path, capsys):
    program(tools / "hadolint", "images/haproxy/Dockerfile:4 DL3002 warning", 1)
    assert lint(tmp_path) == 2
    assert "images/haproxy/Dockerfile:4 DL3002 warning" in capsys.readouterr().err
