"""A rendered directory: what is in it, who can read it, and what a kill leaves."""

import hashlib
import re
import shlex
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from openbalena import stack
from openbalena.base import files, placeholder
from openbalena.base.errors import UsageError
from openbalena.compose.yaml_nodes import parse
from openbalena.stack.emit import dump
from openbalena.swarm import deploy

TEXT = """
name: p
services:
  a:
    image: x:1
    command: ["sh", "-c", "echo $$HOME"]
    environment: {PLAIN: $PLAIN, LATE: "a-$TOKEN", MOVED: $TOKEN}
    secrets: [s]
    configs: [c]
    x-swarm: {secret_env: {target: /e, keys: [MOVED]}}
secrets: {s: {file: ./key}}
configs: {c: {content: "one $PLAIN\\n"}}
"""
ENVIRONMENT = {"PLAIN": "it's $5", "TOKEN": placeholder.placeholder_for("TOKEN")}


def rendered(compiled: Any, directory: Path, **secrets: str) -> Path:
    (directory / "key").write_text("private")
    out = directory / "out"
    stack.render(compiled(TEXT, environment=ENVIRONMENT), out, secrets or {"TOKEN": "se$cret'"})
    return out


def test_secrets_are_in_their_files_only(compiled: Any, tmp_path: Path) -> None:
    out = rendered(compiled, tmp_path)
    assert (out / "secrets/a.env").read_text() == "MOVED=se$cret'\n"
    assert (out / "secrets/s").read_text() == "private"
    assert (out / "configs/c").read_text() == "one it's $5\n"
    assert f"TOKEN={shlex.quote('se$cret' + chr(39))}\n" in (out / "deploy.env").read_text()
    text = (out / "stack.yml").read_text()
    assert "se$cret" not in text
    service = yaml.safe_load(text)["services"]["a"]
    assert service["environment"] == {"PLAIN": "it's $$5", "LATE": "a-${TOKEN}"}
    assert service["command"] == ["sh", "-c", "echo $$HOME"]


def test_what_is_empty_stays_empty_whatever_the_shell_has(compiled: Any, tmp_path: Path, docker: Path) -> None:
    text = 'services: {a: {image: "x:1", environment: {EMPTY: "", NONE: null, DOCKER_HOST: ""}}}'
    out = tmp_path / "out"
    stack.render(compiled(text), out, {})
    assert (out / "deploy.env").read_text() == "EMPTY=\n"
    command = f"set -a; . {out}/deploy.env; set +a; exec {docker} stack config -c {out}/stack.yml"
    done = subprocess.run(
        ["sh", "-c", command], env={"EMPTY": "leaks", "NONE": "leaks"}, capture_output=True, text=True, timeout=60,
        check=True,
    )  # fmt: skip
    assert yaml.safe_load(done.stdout)["services"]["a"]["environment"] == {"EMPTY": "", "DOCKER_HOST": ""}


NAMED = """
name: p
services: {a: {image: x:1, secrets: [key, mine], configs: [docker, a-b, a_b]}}
secrets: {key: {file: ./key}, mine: {file: ./key, name: of-mine}}
configs: {docker: {content: "1"}, a-b: {content: "2"}, a_b: {content: "2", template_driver: golang}}
"""


def names(docker: Path, out: Path, **environment: str) -> dict[str, str]:
    """What a deploy by hand calls each secret and config of the rendered directory."""
    command = f"set -a; . {out}/deploy.env; set +a; exec {docker} stack config -c {out}/stack.yml"
    done = subprocess.run(
        ["sh", "-c", command], env=environment, capture_output=True, text=True, timeout=60, check=True
    )  # fmt: skip
    document = yaml.safe_load(done.stdout)
    return {key: body["name"] for kind in ("secrets", "configs") for key, body in document[kind].items()}


def test_new_content_is_a_new_object_of_a_deploy_by_hand(compiled: Any, tmp_path: Path, docker: Path) -> None:
    found = []
    for content in ("one", "two"):
        (tmp_path / "key").write_text(content)
        stack.render(compiled(NAMED), tmp_path / "out", {})
        found.append(names(docker, tmp_path / "out", A_B_CONFIG="leaks", KEY_SECRET="leaks", DOCKER_CONFIG="/here"))
    one, two = found
    assert {key for key in one if one[key] != two[key]} == {"key"}
    assert one["key"] == f"p_key-{hashlib.sha256(b'one').hexdigest()[:12]}" and one["mine"] == "of-mine"
    assert re.fullmatch(r"p_docker-[0-9a-f]{12}", one["docker"])
    assert one["a-b"].removeprefix("p_a-b") != one["a_b"].removeprefix("p_a_b")
    assert len(set(one.values())) == 5


def test_one_directory_s_objects_are_those_of_its_stack_alone(compiled: Any, tmp_path: Path, docker: Path) -> None:
    (tmp_path / "key").write_text("one")
    found = []
    for name in ("prod", "staging"):
        stack.render(compiled(NAMED, environment={"COMPOSE_PROJECT_NAME": name}), tmp_path / name, {})
        found.append(names(docker, tmp_path / name))
        assert f"deploy it as {name}." in (tmp_path / name / "stack.yml").read_text()
    assert set(found[0].values()) & set(found[1].values()) == {"of-mine"}


def test_a_stack_of_another_name_than_its_project(compiled: Any, tmp_path: Path, docker: Path) -> None:
    (tmp_path / "key").write_text("one")
    stack.render(compiled(NAMED), tmp_path / "out", {}, "prod")
    found = names(docker, tmp_path / "out")
    assert {name.partition("_")[0] for name in found.values()} == {"prod", "of-mine"}
    exported = deploy.deploy_environment(tmp_path / "out", "prod")
    assert {found["key"], found["docker"], found["a-b"], found["a_b"]} <= set(exported.values())


def test_a_name_that_is_too_long_for_the_engine(compiled: Any, tmp_path: Path) -> None:
    key = "k" * 50
    text = f"name: p\nservices: {{a: {{image: 'x:1', configs: [{key}]}}}}\nconfigs: {{{key}: {{content: x}}}}"
    with pytest.raises(UsageError, match="longer than the 64 characters"):
        stack.render(compiled(text), tmp_path / "out", {})


def test_only_the_owner_can_read(compiled: Any, tmp_path: Path) -> None:
    out = rendered(compiled, tmp_path)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in [out, *out.rglob("*")] if path.is_dir()}
    assert modes == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in out.rglob("*") if path.is_file()} == {0o600}


def test_docker_reads_back_what_was_meant(compiled: Any, tmp_path: Path, accepted: Callable[..., str]) -> None:
    config = yaml.safe_load(accepted((rendered(compiled, tmp_path) / "stack.yml").read_text()))
    assert config["services"]["a"]["environment"]["PLAIN"] == "it's $5"
    assert config["secrets"]["a-env"]["name"] == "p_a-env"


def test_rendering_again_replaces_everything(compiled: Any, tmp_path: Path) -> None:
    out = rendered(compiled, tmp_path)
    (out / "secrets" / "stale").write_text("old")
    rendered(compiled, tmp_path)
    assert sorted(path.name for path in (out / "secrets").iterdir()) == ["a.env", "s"]


def test_a_failure_leaves_the_old_one_and_nothing_beside(
    compiled: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = rendered(compiled, tmp_path)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="TOKEN: the stack needs a value"):
        rendered(compiled, tmp_path, OTHER="x")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_atomic", full)
    with pytest.raises(OSError, match="No space"):
        rendered(compiled, tmp_path)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["compose.yml", "key", "out"]


def test_what_a_kill_left_is_taken_away(compiled: Any, tmp_path: Path) -> None:
    (tmp_path / ".out.new" / "secrets").mkdir(parents=True)
    rendered(compiled, tmp_path)
    assert not (tmp_path / ".out.new").exists()


def test_what_a_symbolic_link_points_to_is_replaced(compiled: Any, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    (tmp_path / "out").symlink_to("disk/out")
    # A version before replaced the link, and left it under this name.
    (tmp_path / "disk" / ".out.old").symlink_to("nowhere")
    for _ in range(2):
        out = rendered(compiled, tmp_path)
        assert out.is_symlink() and (disk / "out" / "stack.yml").is_file()
        assert sorted(path.name for path in disk.iterdir()) == ["out"]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["compose.yml", "disk", "key", "out"]


def test_a_place_that_cannot_be_replaced_is_said(compiled: Any, tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("out")
    with pytest.raises(UsageError, match="is a symbolic link to itself"):
        rendered(compiled, tmp_path)
    (tmp_path / "out").unlink()
    (tmp_path / "out").symlink_to("/dev")
    with pytest.raises(UsageError, match="mount point"):
        rendered(compiled, tmp_path)


def test_another_directory_is_not_replaced(compiled: Any, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("precious")
    with pytest.raises(UsageError, match="not a rendered stack"):
        rendered(compiled, tmp_path)


def test_a_secret_over_the_limit_is_refused(compiled: Any, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"x" * (500 * 1024 + 1))
    with pytest.raises(UsageError, match="has 512001 bytes; Swarm allows at most 512000"):
        stack.render(compiled(TEXT, environment=ENVIRONMENT), tmp_path / "out", {"TOKEN": "t"})


@given(st.dictionaries(st.text(min_size=1), st.text() | st.integers() | st.booleans() | st.none() | st.floats(0, 1e6)))
def test_text_is_read_back_as_it_was(document: dict[str, Any]) -> None:
    assert yaml.safe_load(dump({"x": document}))["x"] == document


@given(st.text(alphabet="0123456789abcdefxo_.+-eE:~nulltrueyesno \n#'\"$"))
def test_go_yaml_reads_text_as_text(text: str) -> None:
    (tree,) = parse(dump({"x": text}), "f")
    assert tree["x"] == text


@pytest.mark.parametrize(
    "text",
    [
        "yes",
        "No",
        "on",
        "OFF",
        "y",
        "Y",
        "n",
        "N",
        "12:30",
        "1:2.5",
        "2001-01-01",
        "1_0",
        "=",
        "<<",
        "~",
        "0o17",
        "0x1F",
        "1e3",
        ".5",
        "-1",
    ],
)
def test_what_yaml_1_1_and_1_2_read_apart_is_quoted(text: str) -> None:
    # Readers of YAML 1.1 other than PyYAML have booleans that it has not: y and n.
    assert dump({text: text}) == f'"{text}": "{text}"\n'
    assert yaml.safe_load(dump({text: text})) == {text: text}
    assert parse(dump({"x": text}), "f")[0] == {"x": text}


def test_modes_are_octal(compiled: Any, accepted: Callable[..., str]) -> None:
    assert dump({"mode": 0o400}) == "mode: 0400\n"
    text = "services: {a: {image: 'x:1', secrets: [{source: s, mode: '0400'}]}}\nsecrets: {s: {external: true}}\n"
    config = yaml.safe_load(accepted(stack.stack_file(compiled(text))))
    assert config["services"]["a"]["secrets"][0]["mode"] == 0o400
