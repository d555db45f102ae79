"""`swarm-up --dry-run` and `stack render` show the images that swarm-up deploys, or say which are placeholders."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml
from fake_engine import FakeEngine, fake_engine

from openbalena import images
from openbalena.base.project import Project
from openbalena.cli.main import main
from openbalena.lab import kernel
from openbalena.operations import deployment
from openbalena.operations.built_images import planned_builds
from openbalena.settings.variables import variables

BASE = "balena/open-balena-haproxy:4.3.18"
COMMANDS = [["swarm-up", "--dry-run"], ["stack", "render"]]
PLACEHOLDER = "openbalena/haproxy:latest is a placeholder: "


@pytest.fixture
def directory(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configured project; the engine is one that does not answer."""
    for name in (*variables(), "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-engine.sock")
    monkeypatch.setenv("OPEN_BALENA_LAB_DIR", str(tmp_path / "no-lab"))
    return Path(shutil.copytree(made, tmp_path / "deployment"))


@pytest.fixture
def engine(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    with TemporaryDirectory() as sockets, fake_engine(Path(sockets)) as running:
        monkeypatch.setenv("DOCKER_HOST", running.url)
        yield running


def content_name(directory: Path) -> str:
    """What swarm-build calls the image of haproxy where the base image is there."""
    planned = planned_builds(deployment.load(Project(directory=directory), lab=False), lab=False)
    (haproxy,) = images.tagged(planned, lambda name: f"id of {name}")
    return haproxy.image


def shown(capsys: pytest.CaptureFixture[str], directory: Path, *words: str) -> tuple[dict[str, str], str]:
    """The image of each service, and what stderr says."""
    capsys.readouterr()
    assert main(["--project-directory", str(directory), *words]) == 0
    said = capsys.readouterr()
    text = (directory / "out" / "stack.yml").read_text() if "-o" in words else said.out
    return {name: body["image"] for name, body in yaml.safe_load(text)["services"].items()}, said.err


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_what_was_built_has_the_name_that_swarm_up_deploys(
    command: list[str], directory: Path, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    name = content_name(directory)
    engine.images |= {BASE, name}
    found, said = shown(capsys, directory, *command)
    assert found["haproxy"] == name and ":c-" in name
    assert "placeholder" not in said


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("there", [set(), {BASE}])
def test_what_is_not_built_yet_is_a_placeholder(
    command: list[str],
    there: set[str],
    directory: Path,
    engine: FakeEngine,
    capsys: pytest.CaptureFixture[str],
) -> None:
    engine.images |= there
    found, said = shown(capsys, directory, *command)
    assert found["haproxy"] == "openbalena/haproxy:latest"
    assert PLACEHOLDER in said and "swarm-build" in said and "Do not deploy this over a running stack" in said


def test_what_a_registry_has_need_not_be_at_the_engine(
    directory: Path, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    with (directory / ".env").open("a") as file:
        file.write("IMAGE_PREFIX=registry.example.com/ob\nIMAGE_TAG=7\n")
    _, said = shown(capsys, directory, "stack", "render")
    assert "registry.example.com/ob/haproxy:7 is a placeholder" in said
    engine.images.add(BASE)
    found, said = shown(capsys, directory, "stack", "render", "-o", str(directory / "out"))
    assert found["haproxy"] == content_name(directory) and "placeholder" not in said
    assert "--resolve-image=changed" in said


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_without_an_engine_it_goes_on_and_says_so(
    command: list[str], directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, said = shown(capsys, directory, *command)
    assert found["haproxy"] == "openbalena/haproxy:latest"
    assert PLACEHOLDER in said and "No engine could be reached: " in said


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_for_the_lab_the_stand_ins_are_shown(
    command: list[str], directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, said = shown(capsys, directory, "--lab", *command)
    assert {name.partition("/")[0] for name in found.values()} == {"openbalena-lab"}
    assert "openbalena-lab/api:latest, " in said and " are placeholders: " in said


def test_the_directory_names_what_swarm_up_names_and_says_how_it_is_deployed(
    directory: Path, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.images |= {BASE, content_name(directory)}
    out = directory / "out"
    _, said = shown(capsys, directory, "stack", "render", "-o", str(out))
    assert f"manually: (set -a; . {out}/deploy.env; docker stack deploy --detach=true " in said
    assert f"--resolve-image=never --compose-file {out}/stack.yml openbalena)" in said
    names = {
        body["name"].removeprefix("${").partition(":")[0]
        for kind in ("secrets", "configs")
        for body in yaml.safe_load((out / "stack.yml").read_text())[kind].values()
    }
    for name in names:
        value = subprocess.run(
            ["/bin/sh", "-c", f'. {out}/deploy.env; echo "${name}"'],
            capture_output=True, text=True, check=True, timeout=30,
        ).stdout  # fmt: skip
        assert value.startswith("openbalena_") and value[-14] == "-", (name, value)
    assert (out / "deploy.env").stat().st_mode & 0o777 == 0o600


def test_a_directory_with_placeholders_comes_without_that_line(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, said = shown(capsys, directory, "stack", "render", "-o", str(directory / "out"))
    assert "stack deploy" not in said and PLACEHOLDER in said


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(("line", "encrypted"), [("", True), ("SWARM_ENCRYPTED=false\n", False)])
def test_an_encrypted_network_is_shown_as_it_would_be_made(
    command: list[str], line: str, encrypted: bool, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = directory / ".env"
    file.write_text(file.read_text() + line)
    capsys.readouterr()
    assert main(["--project-directory", str(directory), *command]) == 0
    network = yaml.safe_load(capsys.readouterr().out)["networks"]["default"]
    assert network["driver"] == "overlay" and ("encrypted" in network.get("driver_opts", {})) is encrypted


@pytest.mark.parametrize("line", ["", "SWARM_ENCRYPTED=true\n"])
def test_a_lab_without_esp_has_plain_networks_unless_they_were_asked_for(line: str, directory: Path) -> None:
    file = directory / ".env"
    file.write_text(file.read_text() + line)
    settings = deployment.load(Project(directory=directory), lab=True).settings
    plain = not line and not kernel.has_esp()
    assert settings["SWARM_ENCRYPTED"] == ("false" if plain else "true")
    assert any("SWARM_ENCRYPTED is false: this machine's kernel" in text for text in settings.warnings) is plain
