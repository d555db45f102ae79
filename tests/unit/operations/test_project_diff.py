"""`stack diff` of any Compose project, and of a directory that was rendered from one."""

from pathlib import Path

import pytest
from fake_engine import FakeEngine
from fake_swarm import stack_service

from openbalena.cli.main import main

COMPOSE = """\
services:
  web: {image: 'a:${TAG}', deploy: {endpoint_mode: vip}, configs: [page]}
  new: {image: 'b:1'}
configs: {page: {content: hello}}
"""


@pytest.fixture(autouse=True)
def _shop(fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "shop"
    directory.mkdir()
    monkeypatch.chdir(directory)
    for name in ("OPEN_BALENA_LAB", "COMPOSE_FILE", "COMPOSE_PROJECT_NAME", "TAG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_HOST", fake.url)
    fake.swarm.node("node1", "manager")
    fake.swarm.create("services", stack_service("web", "shop"))
    fake.swarm.create("services", stack_service("other", "prod"))
    Path("compose.yaml").write_text(COMPOSE)
    Path(".env").write_text("TAG=2\n")


def differing(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, list[str]]:
    capsys.readouterr()
    assert main(["stack", "diff", *words]) == 0
    found: dict[str, list[str]] = {}
    for line in capsys.readouterr().out.splitlines():
        service, _, change = line.partition(": ")
        found.setdefault(service, []).append(change)
    return found


@pytest.mark.parametrize("words", [["."], ["compose.yaml"], ["-f", "compose.yaml"]], ids=" ".join)
def test_a_project_is_compared_with_the_stack_of_its_name(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    found = differing(capsys, *words)
    assert found["new"] == ["is new"] and found.keys() == {"new", "web"}
    assert "image: a:1 → a:2" in found["web"]


def test_another_name_is_another_stack(capsys: pytest.CaptureFixture[str]) -> None:
    found = differing(capsys, "-p", "prod")
    assert found["web"] == ["is new"] and found["other"] == ["will be removed (no longer in the stack)"]


def test_a_rendered_directory_needs_the_name_of_its_stack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rendered = str(tmp_path / "out")
    assert main(["stack", "render", ".", "-o", rendered]) == 0
    for words, error in (
        ([rendered], f"{rendered}: is a rendered stack: name it with -c {rendered} -p NAME"),
        (["-c", rendered], f"{rendered}: name its stack with -p NAME"),
        (["-c", rendered, "."], "-c: name either a project or a rendered directory"),
        (["-c", ".", "-p", "x"], ".: has no stack.yml: expected a directory that stack render -o wrote"),
    ):
        assert main(["stack", "diff", *words]) == 2
        assert error in capsys.readouterr().err
    assert differing(capsys, "-c", rendered, "-p", "shop") == differing(capsys, ".")


def test_a_project_that_cannot_be_compiled(capsys: pytest.CaptureFixture[str]) -> None:
    Path("compose.yaml").write_text("services: {a: {image: 'a:1', cpuset: '1'}}\n")
    assert main(["stack", "diff", "."]) == 2
    assert "compose.yaml:1:30: cpuset:" in capsys.readouterr().err
