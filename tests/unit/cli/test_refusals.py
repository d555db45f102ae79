"""Wrong use ends at once with exit code 2 and a sentence, before anything is asked or changed."""

import os
from pathlib import Path

import pytest

from openbalena.base import locks
from openbalena.cli.argument_types import seconds, since, time_text
from openbalena.cli.main import main


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["swarm-up", "--timeout", "-5"], "expected a time above 0, such as 90s, 10m or 2h, not '-5'"),
        (["swarm-up", "--timeout", "nan"], "expected a time above 0, such as 90s, 10m or 2h, not 'nan'"),
        (["up", "--timeout", "inf"], "expected a time above 0, such as 90s, 10m or 2h, not 'inf'"),
        (
            ["storage", "move", "a", "b", "--timeout", "soon"],
            "expected a time above 0, such as 90s, 10m or 2h, not 'soon'",
        ),
        (["up", "--timeout", "10 m"], "expected a time above 0, such as"),
        (["up", "--timeout", "5m2h"], "expected a time above 0, such as"),
        (["up", "--timeout", ""], "expected a time above 0, such as"),
        (["up", "--timeout", "0h0m"], "expected a time above 0, such as"),
        (["up", "--timeout", "٣m"], "expected a time above 0, such as"),
        (["up", "--timeout", "9" * 400 + "h"], "expected a time above 0, such as"),
        (["swarm-logs", "api", "--tail", "-5"], "expected a number of lines, 0 or more, not '-5'"),
        (["logs", "--since", "notatime"], "expected a time such as 2026-11-23T10:00:00 or 15m, not 'notatime'"),
        (["logs", "--since", "2026-13-01"], "expected a time such as"),
        (["swarm-logs", "api", "--since", "5 minutes"], "expected a time such as"),
        (["logs", "--tail", "all"], "expected a number of lines, 0 or more, not 'all'"),
        (["swarm-down", "--node", "root@node2"], "--node requires --volumes"),
        (["stack", "validate", "/"], "no Compose file in /: expected compose.yaml, "),
        (["stack", "render", "-f", "/dev/zero"], "/dev/zero: is not a regular file"),
        (["stack", "render", "-f", "/dev/full"], "/dev/full: is not a regular file"),
        (["stack", "render", "-f", "x" * 300], "cannot be read: File name too long"),
        (["lab", "up", "--managers", "１２"], "expected a number, 0 or more, not '１２'"),
        (["lab", "up", "--workers", "1_0"], "expected a number, 0 or more, not '1_0'"),
        (["swarm-init", "--data-path-port", "٣"], "expected a number, 0 or more, not '٣'"),
        (["backup", "schedule", "--daily", "24:00"], "expected a time of day such as 03:30, not '24:00'"),
        (["backup", "schedule", "--daily", "3:30"], "expected a time of day such as 03:30, not '3:30'"),
        (["backup", "schedule", "--every", "5h"], "expected 1h, 2h, 3h, 4h, 6h, 8h or 12h, not '5h'"),
        (["backup", "schedule", "--every", "6"], "expected 1h, 2h, 3h, 4h, 6h, 8h or 12h, not '6'"),
        (["backup", "schedule", "--every", "6h", "--off"], "not allowed with argument"),
        (["backup", "create", "--metrics", "backup.prom"], "expected the absolute path of a file *.prom"),
        (["backup", "create", "--metrics", "/none/backup.prom"], "in a directory that exists"),
        (["backup", "create", "--metrics", "/tmp/backup.txt"], "expected the absolute path of a file *.prom"),
        (["backup", "prune", "--keep-daily", "-7"], "expected a number, 0 or more, not '-7'"),
        (["backup", "verify", "--read-data", "0"], "expected a percentage from 1 to 100, not '0'"),
        (["backup", "verify", "--read-data", "101"], "expected a percentage from 1 to 100, not '101'"),
        (["help", "lab", "kill", "node1"], "help lab kill node1: expected a command"),
        (["help", "lab", "nonsense"], "'nonsense' is not one of up, status, "),
    ],
)
def test_words_that_cannot_be_meant(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("action", ["up", "shell"])
def test_help_of_an_action(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["help", "lab", action])
    assert end.value.code == 0
    assert f"lab {action}" in capsys.readouterr().out


def test_a_file_where_the_rendered_directory_should_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compose, file = tmp_path / "compose.yml", tmp_path / "taken"
    compose.write_text("services: {a: {image: 'a:1'}}\n")
    file.write_text("kept")
    assert main(["stack", "render", "-f", str(compose), "-o", str(file)]) == 2
    assert f"{file}: is not a directory" in capsys.readouterr().err
    assert file.read_text() == "kept"


@pytest.mark.timeout(20)
def test_settings_in_a_pipe_are_not_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / ".env")
    assert main(["--project-directory", str(tmp_path), "showenv"]) == 2
    assert ".env: is not a regular file" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["config", "--dns-tld", "my.example.com", "--yes"], ["up"], ["showenv"]])
def test_settings_that_are_a_link_to_themselves(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".env").symlink_to(".env")
    assert main(["--project-directory", str(tmp_path), *words]) == 2
    captured = capsys.readouterr()
    assert f"{tmp_path}/.env: is a symbolic link to itself" in captured.err and captured.out == ""
    assert {path.name for path in tmp_path.iterdir()} - {locks.NAME} == {".env"}


@pytest.mark.parametrize(
    "words",
    [["--project-directory", "x" * 70_000, "lint"], ["stack", "render", "-f", "compose.yml", "-o", "x" * 300]],
)
def test_names_that_no_file_can_have(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "compose.yml").write_text("services: {a: {image: 'a:1'}}\n")
    assert main(words) == 1
    assert "File name too long: choose a shorter name" in capsys.readouterr().err


@pytest.mark.timeout(20)
def test_an_override_in_a_pipe_is_not_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = ["--project-directory", str(tmp_path)]
    assert main(["config", "--dns-tld", "my.example.com", "--yes", *at]) == 0
    os.mkfifo(tmp_path / "docker-compose.override.yml")
    assert main(["lint", *at]) == 2
    assert "docker-compose.override.yml: is not a regular file" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["15m", "1h30m", "1.5h", "2026-11-23", "2026-11-23T10:00:00.5Z", "1700000000"])
def test_times_that_docker_knows(text: str) -> None:
    assert since(text) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [("90", 90), ("0.5", 0.5), ("90s", 90), ("10m", 600), ("1.5h", 5400), ("2h", 7200), ("1h30m", 5400), ("1m1s", 61)],
)
def test_a_time_to_wait(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize(("value", "text"), [(45.0, "45s"), (90.0, "90s"), (600.0, "10m"), (21600.0, "6h")])
def test_a_time_is_shown_as_it_can_be_typed(value: float, text: str) -> None:
    assert time_text(value) == text and seconds(text) == value
