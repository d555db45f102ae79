"""`lint` reports that settings and definitions are OK, or where they are not."""

import json
from pathlib import Path

import pytest

from openbalena.base.project import Project
from openbalena.cli.main import main
from openbalena.operations.hints import invocation


def lint(directory: Path) -> int:
    return main(["--project-directory", str(directory), "lint"])


def test_the_output_of_config_is_ok(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--project-directory", str(tmp_path), "config", "--dns-tld", "my.example.com", "--yes"]) == 0
    capsys.readouterr()
    assert lint(tmp_path) == 0
    settings, definitions, stacks = capsys.readouterr().out.splitlines()
    assert stacks == "3 stack files: OK"
    assert settings.startswith(f"{tmp_path}/.env: OK")
    assert "docker-compose.yml: OK" in definitions


def test_what_was_checked_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--project-directory", str(tmp_path), "config", "--dns-tld", "my.example.com", "--yes"])
    capsys.readouterr()
    assert main(["--project-directory", str(tmp_path), "lint", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["env_file"] == f"{tmp_path}/.env" and found["services"] > 5 and len(found["stack_files"]) == 3
    assert [Path(file).name for file in found["definitions"]] == ["docker-compose.yml"]


def test_without_settings_it_says_to_run_config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lint(tmp_path) == 2
    assert f"run {invocation(Project(tmp_path), lab=False)} config" in capsys.readouterr().err


def test_an_override_that_is_wrong_is_named_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--project-directory", str(tmp_path), "config", "--dns-tld", "my.example.com", "--yes"])
    (tmp_path / "docker-compose.override.yml").write_text("services:\n  api:\n    imaage: nginx\n")
    capsys.readouterr()
    assert lint(tmp_path) == 2
    assert "docker-compose.override.yml:3" in capsys.readouterr().err


def test_the_programs_for_the_tools_own_sources_are_not_needed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["--project-directory", str(tmp_path), "config", "--dns-tld", "my.example.com", "--yes"])
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for program in ("shellcheck", "hadolint"):
        (tmp_path / "bin" / program).write_text("#!/bin/sh\necho called\nexit 1\n")
        (tmp_path / "bin" / program).chmod(0o755)
    capsys.readouterr()
    assert lint(tmp_path) == 0
    assert capsys.readouterr().err == ""
