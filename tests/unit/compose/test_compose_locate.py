"""Which files, variables and profiles `docker compose` would take, without a word about them or with options."""

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from openbalena import compose
from openbalena.base.errors import UsageError

SERVICE = "services: {a: {image: 'a:1'}}\n"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(**texts: str) -> None:
    """Files of the working directory; `__` is a slash in their names."""
    for name, text in texts.items():
        path = Path(name.replace("__", "/"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def located(process: dict[str, str] | None = None, **request: Any) -> compose.Located:
    return compose.locate(compose.Request(**request), process or {})


def names(found: compose.Located) -> list[str]:
    return [os.path.relpath(path) for path in found.files]


def test_the_usual_names_with_their_override() -> None:
    write(**{"docker-compose.yml": SERVICE, "docker-compose.override.yml": SERVICE})
    assert names(located()) == ["docker-compose.yml", "docker-compose.override.yml"]
    write(**{"compose.yaml": SERVICE})
    found = located()
    assert names(found) == ["compose.yaml", "docker-compose.override.yml"]
    assert found.warnings == ("docker-compose.yml is not read, as compose.yaml is there: name both with -f",)


def test_a_directory_above_is_searched_but_not_one_above_the_argument(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(**{"compose.yml": SERVICE, ".env": "TAG=above\n", "in__deeper__x": ""})
    monkeypatch.chdir("in/deeper")
    found = located()
    assert (names(found), found.directory, found.environment["TAG"]) == (["../../compose.yml"], tmp_path, "above")
    with pytest.raises(UsageError, match=r"no Compose file in \.\.: expected compose\.yaml"):
        located(argument=Path(".."))


def test_the_directory_of_a_project_as_the_argument() -> None:
    write(**{"p__compose.yaml": SERVICE, "p__compose.override.yaml": SERVICE, "p__.env": "COMPOSE_PROFILES=x, y\n"})
    found = located({"COMPOSE_FILE": "other.yml"}, argument=Path("p"))
    assert names(found) == ["p/compose.yaml", "p/compose.override.yaml"]
    assert found.profiles == ("x", "y") and found.load().name == "p"


def test_files_of_the_environment_and_of_dotenv() -> None:
    write(**{"a.yml": SERVICE, "b.yml": SERVICE, "compose.yaml": SERVICE, ".env": "COMPOSE_FILE=b.yml\n"})
    assert names(located()) == ["b.yml"]
    assert names(located({"COMPOSE_FILE": "a.yml:b.yml"})) == ["a.yml", "b.yml"]
    assert names(located({"COMPOSE_FILE": "a.yml;b.yml", "COMPOSE_PATH_SEPARATOR": ";"})) == ["a.yml", "b.yml"]
    assert names(located({"COMPOSE_FILE": "a.yml"}, files=(Path("b.yml"),))) == ["b.yml"]
    assert names(located({"COMPOSE_DISABLE_ENV_FILE": "1"})) == ["compose.yaml"]
    with pytest.raises(UsageError, match="c.yml: no such file"):
        located({"COMPOSE_FILE": "c.yml"})


def test_variables_of_the_process_come_before_those_of_files() -> None:
    write(**{"compose.yaml": SERVICE, ".env": "A=dotenv\nB=dotenv\n", "1.env": "A=1\nB=1\n", "2.env": "B=2$A\n"})
    assert located({"A": "process"}).environment == {"A": "process", "B": "dotenv"}
    both = (Path("1.env"), Path("2.env"))
    assert located(env_files=both).environment == {"A": "1", "B": "21"}
    assert located({"COMPOSE_ENV_FILES": "1.env,2.env"}).environment["B"] == "21"


@pytest.mark.parametrize(("process", "said", "used"), [("x", (), ("x",)), ("x", ("y",), ("y",)), ("", (), ())])
def test_profiles(process: str, said: tuple[str, ...], used: tuple[str, ...]) -> None:
    write(**{"compose.yaml": SERVICE})
    assert located({"COMPOSE_PROFILES": process}, profiles=said).profiles == used


def test_the_project_s_name() -> None:
    write(**{"compose.yaml": f"name: file\n{SERVICE}"})
    assert located().load().name == "file"
    assert located({"COMPOSE_PROJECT_NAME": "process"}).load().name == "process"
    assert located({"COMPOSE_PROJECT_NAME": "process"}, name="said").load().name == "said"
    with pytest.raises(UsageError, match="'My Stack': a project's name has lower-case letters"):
        located(name="My Stack")


def test_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"name: piped\n{SERVICE}".encode())))
    write(**{".env": "COMPOSE_PROFILES=x\n", "over.yml": "services: {a: {hostname: b}}\n"})
    found = located(files=(Path("-"), Path("over.yml")))
    project = found.load()
    assert (project.name, project.directory, found.profiles) == ("piped", tmp_path, ("x",))
    assert project.services["a"]["hostname"] == "b"


@pytest.mark.timeout(20)
def test_a_pipe_is_read_once() -> None:
    os.mkfifo("pipe")
    with subprocess.Popen(["sh", "-c", f'printf "%s" "{SERVICE}" >pipe']):
        found = located(argument=Path("pipe"))
    assert found.load().services.keys() == found.load().services.keys() == {"a"}


def test_what_contradicts_itself() -> None:
    with pytest.raises(UsageError, match="either all with -f or as the argument"):
        located(argument=Path("a"), files=(Path("b"),))


@pytest.mark.parametrize(
    ("options", "process"),
    [
        ([], {}),
        ([], {"COMPOSE_FILE": "a.yml:b.yml"}),
        ([], {"COMPOSE_PROFILES": "p"}),
        (["--profile", "q"], {"COMPOSE_PROFILES": "p"}),
        (["-f", "a.yml", "-p", "named"], {"COMPOSE_PROJECT_NAME": "x"}),
        (["--env-file", "1.env"], {}),
        ([], {"COMPOSE_ENV_FILES": "1.env"}),
        ([], {"TAG": "process"}),
        (["-f", "sub/c.yml"], {}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else ",".join(value),
)
def test_docker_compose_finds_the_same(options: list[str], process: dict[str, str], docker_compose: Path) -> None:
    profiles = "".join(f"  {name}: {{image: 'p:${{TAG}}', profiles: [{name}]}}\n" for name in "pq")
    write(
        **{
            "compose.yml": f"services:\n  one: {{image: 'one:${{TAG}}'}}\n{profiles}",
            "compose.override.yml": "services: {two: {image: 'two:1'}}\n",
            "a.yml": "services: {a: {image: 'a:${TAG}'}}\n",
            "b.yml": "services: {b: {image: 'b:1'}}\n",
            "sub__c.yml": "services: {c: {image: 'c:${TAG}'}}\n",
            "sub__.env": "TAG=sub\n",
            ".env": "TAG=dotenv\n",
            "1.env": "TAG=1\n",
        }
    )
    environment = {"PATH": os.environ["PATH"], "HOME": str(Path.cwd()), **process}
    done = subprocess.run(
        [docker_compose, *options, "config", "--images"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    named = {"--profile": "profiles", "-f": "files", "--env-file": "env_files", "-p": "name"}
    request: dict[str, Any] = {}
    for option, value in zip(options[::2], options[1::2], strict=True):
        key = named[option]
        request[key] = value if key == "name" else (value,) if key == "profiles" else (Path(value),)
    images = {service["image"] for service in located(environment, **request).load().services.values()}
    assert images == set(done.stdout.split())
