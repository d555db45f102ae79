"""The scripts of `completion`: bash's by bash's own functions; zsh's and fish's by these shells, where they are."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from leaves import LEAVES, Leaf

from openbalena.base.project import Project
from openbalena.cli.commands import BY_NAME
from openbalena.cli.completion import SHELLS, calls
from openbalena.cli.main import main

# What programmable completion does for the word before the cursor, which is the last one (bash(1)).
DRIVER = """\
set -eu
source "$1"; shift
[[ $(complete -p open-balena.sh) == 'complete -F _open_balena open-balena.sh' ]]
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_open_balena open-balena.sh "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]+"${COMPREPLY[@]}"}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("bash") / "script"
    file.write_text(printed("bash"))
    return file


def printed(shell: str) -> str:
    return SHELLS[shell](calls(Project()))


def offered(script: Path, *words: str, cwd: Path | None = None) -> set[str]:
    command = ["bash", "--norc", "-c", DRIVER, "bash", str(script), "./open-balena.sh", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, cwd=cwd)
    assert done.stderr == ""
    return set(done.stdout.split("\n")) - {""}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["swarm-st"], {"swarm-status"}),
        (["--lab", "st"], {"status", "stop", "stack", "storage"}),
        (["--project-directory", "up", "migr"], {"migrate"}),
        (["--project-directory", "=", "up", "migr"], {"migrate"}),
        (["backup", ""], {"create", "list", "check", "verify", "prune", "schedule"}),
        (["backup", "--lab", "cr"], {"create"}),
        (["backup", "create", "--ti"], {"--timeout"}),
        (["backup", "create", "--timeout", ""], set()),
        (["up", "--timeout", "5m", "--no"], {"--no-wait"}),
        (["up", "--timeout", "=", "5m", "--no"], {"--no-wait"}),
        (["migrate", "--to", ""], {"swarm", "compose"}),
        (["migrate", "--to", "="], {"swarm", "compose"}),
        (["migrate", "--to", "=", "s"], {"swarm"}),
        (["stack", "render", "--list", "vol"], {"volumes"}),
        (["logs", "ap"], {"api"}),
        (["logs", "api", "redi"], {"redis"}),
        (["logs", "api", "--fol"], {"--follow"}),
        (["clean", "--y"], {"--yes"}),
        (["secrets", "rotate", "COOKIE"], {"COOKIE_SESSION_SECRET"}),
        (["help", "swarm-dr"], {"swarm-drain"}),
        (["help", "lab", "ki"], {"kill"}),
        (["help", "--a"], {"--all"}),
        (["help", "up", ""], set()),
        (["--ver"], {"--version"}),
        (["no-such-command", "--"], {"--lab", "--project-directory", "--help", "--version"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bash_completes(words: list[str], expected: set[str], script: Path) -> None:
    assert offered(script, *words) == expected


def test_bash_completes_files_and_directories(script: Path, tmp_path: Path) -> None:
    (tmp_path / "a directory").mkdir()
    (tmp_path / "a file*").touch()
    for words in (["stack", "render", "a"], ["pki", "import", "--key", "a"]):
        assert offered(script, *words, cwd=tmp_path) == {"a directory", "a file*"}
    assert offered(script, "status", "--project-directory", "a", cwd=tmp_path) == {"a directory"}


def test_bash_completes_every_command(script: Path) -> None:
    assert offered(script, "") == {*BY_NAME, "help"} == offered(script, "help", "") | {"help"}


@pytest.mark.parametrize("leaf", LEAVES, ids=str)
def test_bash_completes_every_option(leaf: Leaf, script: Path) -> None:
    found = offered(script, *leaf.words, "-")
    assert found == {*leaf.parser._option_string_actions, "--lab", "--project-directory"}


def test_the_script_is_sound() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("shellcheck"), "--shell=bash", "-"],
        input=printed("bash"),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_can_read_their_script(shell: str, tmp_path: Path) -> None:
    """Skipped where the shell is missing, by its name, which pytest counts (-rs)."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed: its script was not read by it")
    (tmp_path / "script").write_text(printed(shell))
    option = {"zsh": "-n", "fish": "--no-execute"}[shell]
    done = subprocess.run([shell, option, tmp_path / "script"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_fish_completes() -> None:
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed: what it completes was not tried")
    for typed, expected in (("open-balena.sh backup cre", "create"), ("open-balena.sh up --no", "--no-wait")):
        program = "source -; complete --do-complete $argv[1]"
        command = ["fish", "--no-config", "-c", program, typed]
        done = subprocess.run(command, input=printed("fish"), capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout.startswith(expected)


def test_fish_knows_every_option() -> None:
    script = printed("fish").splitlines()
    for leaf in LEAVES:
        head = f"complete -c open-balena.sh -n '__open_balena_called {leaf}' "
        names = {line.removeprefix(head).split()[1] for line in script if line.startswith((f"{head}-l", f"{head}-s"))}
        assert names >= {name.lstrip("-") for name in leaf.parser._option_string_actions}, leaf


def test_another_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "csh"]) == 2
    assert "'csh' is not one of bash, zsh, fish" in capsys.readouterr().err


def test_the_command_prints_the_script(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "zsh"]) == 0
    assert capsys.readouterr().out == printed("zsh")
