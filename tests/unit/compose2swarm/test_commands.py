"""The commands of the translator, as `compose2swarm` and as `open-balena.sh stack` have them."""

import io
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from openbalena.cli.main import main as openbalena
from openbalena.compose2swarm.main import main

ROOT = Path(__file__).parents[3]
HOOKS: list[dict[str, Any]] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
NOISY = """\
services:
  a: {image: 'a:1', container_name: x, expose: [80], profiles: [p]}
  b: {image: b, container_name: y, expose: [80]}
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "shop"
    directory.mkdir()
    monkeypatch.chdir(directory)
    for name in ("COMPOSE_FILE", "COMPOSE_PROFILES", "COMPOSE_PROJECT_NAME", "COMPOSE_ENV_FILES"):
        monkeypatch.delenv(name, raising=False)
    Path("compose.yml").write_text(NOISY)


def called(capsys: pytest.CaptureFixture[str], *words: str, expected: int = 0) -> tuple[list[str], list[str]]:
    """The lines on stdout and stderr."""
    capsys.readouterr()
    status = main(words)
    out, err = capsys.readouterr()
    assert status == expected, out + err
    return out.splitlines(), err.splitlines()


def test_the_project_here_is_rendered_and_the_override_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    Path("compose.override.yml").write_text("services: {b: {image: 'b:2'}}\n")
    out, err = called(capsys, "render")
    assert out[0].startswith("# The compiled stack shop.") and "    image: b:2" in out
    assert err == [
        "compose.yml:3:17: container_name: each task's container has its own name; "
        "other services use the service's name (note)",
        "compose.yml:3:36: expose: tasks on the same overlay network reach all of each other's ports (note)",
        "2 notes",
    ]


def test_profiles_of_the_environment_and_unknown_ones(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPOSE_PROFILES", "p")
    assert called(capsys, "render", "--list", "services")[0] == ["a", "b"]
    out, err = called(capsys, "render", "--list", "images", "--profile", "nope")
    assert out == ["b"] and err[0] == "warning: no service has the profile nope: expected p"


def test_notes_of_a_rule_are_collapsed(capsys: pytest.CaptureFixture[str]) -> None:
    _, err = called(capsys, "render", "--profile", "p")
    (line,) = [line for line in err if "container_name" in line]
    assert line.endswith("(note) and 1 more of container_name: --all shows them")
    assert err[0].startswith("compose.yml:3:7: image: b has no tag"), "what matters is first"
    assert err[-1] == "1 warning, 5 notes"
    assert len(called(capsys, "render", "--profile", "p", "--all")[1]) == 7


def test_strict_and_ignore(capsys: pytest.CaptureFixture[str]) -> None:
    assert called(capsys, "validate", expected=1)[1] == ["1 error, 5 warnings"]
    ignored = [f"--ignore={rule}" for rule in ("profiles", "expose", "container_name")]
    assert called(capsys, "validate", *ignored)[1] == ["1 warning"]
    assert called(capsys, "validate", *ignored, "--ignore", "image", "--strict") == ([], [])
    called(capsys, "validate", *ignored, "--strict", expected=1)
    assert called(capsys, "render", "--strict", expected=2)[0] == []
    assert called(capsys, "render", "--strict", "--ignore", "image")[0]


def test_an_error_is_no_less_one_when_it_is_ignored(capsys: pytest.CaptureFixture[str]) -> None:
    Path("compose.yml").write_text("services: {a: {image: 'a:1', cpuset: '1'}}\n")
    assert called(capsys, "render", "--ignore", "cpuset", expected=2)[0] == []


def test_errors_of_render_begin_with_their_place(capsys: pytest.CaptureFixture[str]) -> None:
    Path("compose.yml").write_text("services: {a: {image: 'a:1', cpuset: '1', uts: host}}\n")
    out, err = called(capsys, "render", expected=2)
    assert out == [] and [line.partition(": ")[0] for line in err[:2]] == ["compose.yml:1:30", "compose.yml:1:43"]
    assert err[2:] == ["2 errors"]
    Path("compose.yml").write_text("services: [\n")
    assert called(capsys, "render", expected=2)[1][0].startswith("compose.yml:2:1: syntax: invalid YAML")


def test_several_files_as_one_project_and_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.yml").write_text("services: {a: {image: 'a:1'}}\n")
    Path("b.yml").write_text("services: {a: {hostname: b}}\n")
    assert called(capsys, "validate", "-f", "a.yml", "-f", "b.yml") == ([], [])
    out, _ = called(capsys, "validate", "a.yml", "b.yml", expected=1)
    assert len(out) == 1 and out[0].startswith("b.yml:1:12: image: the service a has no image")


def test_a_key_that_a_later_file_replaces_is_refused_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.yml").write_text("services: {a: {image: 'a:1', mem_limit: 1g}}\n")
    Path("b.yml").write_text("services: {a: {mem_limit: 2g}}\n")
    out, _ = called(capsys, "validate", "-f", "a.yml", "-f", "b.yml", expected=1)
    assert [line.partition(": ")[0] for line in out] == ["a.yml:1:30", "b.yml:1:16"]


def test_missing_files_do_not_hide_what_is_found_in_others(capsys: pytest.CaptureFixture[str]) -> None:
    out, err = called(capsys, "validate", "none.yml", "compose.yml", expected=2)
    assert len(out) == 6 and err == ["1 error, 5 warnings", "error: none.yml: no such file"]


def test_validating_what_render_would_make_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    Path(".env").write_text("TAG=1\n")
    Path("compose.yml").write_text("services: {a: {image: 'a:${TAG:?set it}', mem_limit: '${MEM:-${TAG}g}'}}\n")
    called(capsys, "validate", expected=1)
    assert called(capsys, "validate", "--compiled") == ([], [])
    Path(".env").unlink()
    out, _ = called(capsys, "validate", "--compiled", expected=1)
    assert out == ["compose.yml:1:23: syntax: TAG must be set: set it (error)"]


def test_standard_input(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for words in (["render", "-"], ["render", "-f", "-"], ["validate", "-"]):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"services: {a: {image: 'a:1'}}\n")))
        out, err = called(capsys, *words)
        assert err == [] and (out == [] if words[0] == "validate" else "compiled stack shop" in out[0])


def test_a_directory_to_deploy_under_another_name(capsys: pytest.CaptureFixture[str]) -> None:
    Path("compose.yml").write_text(
        "services: {a: {image: 'a:1', configs: [c]}}\nconfigs: {c: {content: x, labels: {a: b}}}\n"
    )
    _, err = called(capsys, "render", "-p", "prod", "-o", "out dir")
    assert "compiled stack prod" in Path("out dir/stack.yml").read_text()
    assert Path("out dir/deploy.env").read_text().startswith("C_CONFIG=prod_c-")
    command = "(cd 'out dir' && set -a && . ./deploy.env && docker stack deploy -c stack.yml prod)"
    assert err == ["wrote out dir", f"deploy it: {command}"]


@pytest.mark.parametrize("output", ["compose.yml/x", "/proc/x", "/proc/no-such/x"])
def test_a_directory_that_cannot_be_made(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, err = called(capsys, "render", "--ignore", "image", "-o", output, expected=2)
    assert err[-1].startswith(f"error: {Path(output).absolute()}: cannot be created: ")


def test_a_secret_whose_file_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    Path("compose.yml").write_text("services: {a: {image: 'a:1', secrets: [s]}}\nsecrets:\n  s: {file: ./nope}\n")
    meaning = f"{Path.cwd()}/nope does not exist, or is not a file"
    said = f"compose.yml:3:7: secrets.file: {meaning}; create it before the deploy"
    assert called(capsys, "validate")[0] == [f"{said} (note)"]
    assert called(capsys, "render")[1] == [f"{said} (note)", "1 note"]
    _, err = called(capsys, "render", "-o", "out", expected=2)
    assert err == [f"error: compose.yml:3:7: {Path.cwd()}/nope: cannot be read: No such file or directory"]


def test_the_project_here_is_not_openbalena_s(capsys: pytest.CaptureFixture[str]) -> None:
    assert openbalena(["stack", "render", "--project-directory", "."]) == 2
    assert capsys.readouterr().err.startswith("warning: this renders openBalena's own stack: `")


def test_json_has_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    Path(".env").write_text("TAG=1\n")
    Path("compose.yml").write_text(
        "services:\n  a: {image: 'a:${TAG}', build: {context: '${DIR:-.}'}, hostname: '${HOST:?}'}\n"
    )
    out, err = called(capsys, "render", "--json", expected=2)
    assert [item["rule"] for item in json.loads("\n".join(out))["findings"]] == ["syntax"] and err == []
    Path(".env").write_text("TAG=1\nHOST=h\n")
    out, err = called(capsys, "render", "--json")
    found = json.loads("\n".join(out))
    assert (found["name"], found["services"], found["images"]) == ("shop", ["a"], ["a:1"]) and err == []
    assert found["builds"] == {"a": {"image": "a:1", "context": str(Path.cwd()), "dockerfile": "Dockerfile"}}
    assert found["variables"] == {
        "DIR": {"required": False, "default": "."},
        "HOST": {"required": True, "default": None},
        "TAG": {"required": False, "default": None},
    }
    assert found["stack.yml"].startswith("# The compiled stack shop")


def test_explanations(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = called(capsys, "explain", "container_name")
    assert out[1:] == ["compiled: irrelevant", "plain `docker stack deploy`: dropped", "write instead: leave it out"]
    assert called(capsys, "explain", "deploy.replicas")[0][0].startswith("deploy: Kept")
    assert called(capsys, "explain", "volumes.bind")[0][0].startswith("volumes.bind: A bind mount's path")
    assert json.loads("\n".join(called(capsys, "explain", "cpus", "--json")[0]))["compiled"] == "translated"
    _, err = called(capsys, "explain", "contianer_name", expected=2)
    assert err == ["error: contianer_name: no rule has this name: did you mean container_name?"]


def test_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["nope"], ["render", "--nope"], ["render", "a", "b"], ["validate", "x", "-f", "y"]):
        assert called(capsys, *words, expected=2)[1][0].startswith("error: ")


def test_the_same_in_the_other_program(capsys: pytest.CaptureFixture[str]) -> None:
    Path("over.yml").write_text("services: {b: {image: 'b:2'}}\n")
    for words in (["render", "."], ["render", "-f", "compose.yml", "-f", "over.yml"], ["explain", "cpus"]):
        same = called(capsys, *words)
        assert openbalena(["stack", *words]) == 0
        out, err = capsys.readouterr()
        assert (out.splitlines(), err.splitlines()) == same


@pytest.mark.parametrize("hook", HOOKS, ids=[hook["id"] for hook in HOOKS])
def test_hooks_of_pre_commit(hook: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """As pre-commit calls them: it installs the checkout, and appends the files that changed and match."""
    program, *words = hook["entry"].split()
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts[program] == f"{main.__module__}:{main.__name__}" and hook["language"] == "python"
    sound, faulty = "services: {a: {image: 'a:1'}}\n", "services: {a: {image: 'a:1', cpuset: '1'}}\n"
    Path("deploy").mkdir()
    for name in ("compose.yml", "deploy/docker-stack.prod.yml"):
        Path(name).write_text(sound)
    every = [str(path) for path in Path().rglob("*.yml")]
    files = [name for name in every if re.search(hook["files"], name)] if hook.get("pass_filenames", True) else []
    assert called(capsys, *words, *files) == ([], [])
    Path("compose.yml" if not files else files[0]).write_text(faulty)
    called(capsys, *words, *files, expected=1)


def test_it_needs_no_other_package_than_the_yaml_parser() -> None:
    program = (
        "import sys\n"
        "for name in ('cryptography', 'docker', 'requests', 'urllib3'): sys.modules[name] = None\n"
        "from openbalena.compose2swarm.main import main\n"
        "status = main(['render'])\n"
        "print(*sorted(name for name in sys.modules if name.startswith('openbalena.')), sep='\\n', file=sys.stderr)\n"
        "sys.exit(status)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    modules = {line.split(".")[1] for line in done.stderr.splitlines() if line.startswith("openbalena.")}
    assert modules == {"base", "compose", "compose2swarm", "stack"}
