"""From arguments to a command's module, and from its failure to a sentence and an exit code."""

import argparse
import errno
import json
import os
import re
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
from leaves import LEAVES

from openbalena.base.errors import OperationError, UsageError
from openbalena.base.project import ROOT, Project
from openbalena.cli import interrupted
from openbalena.cli import main as entry
from openbalena.cli.commands import BY_NAME, COMMANDS, GROUPS, Command
from openbalena.cli.commands import PROGRAM as LAUNCHER
from openbalena.cli.console import Context
from openbalena.cli.help import INSTEAD, unknown
from openbalena.cli.main import main, split_global_options
from openbalena.cli.options import command as declare
from openbalena.cli.options import command_parser, option
from openbalena.cli.suggestions import distance

STANDALONE = {
    *("help", "lint", "verify", "config", "up", "down", "restart", "destroy", "auto-pki", "custom-pki", "nfs-setup"),
    *("logs", "status", "showenv", "showpass"),
}
CLUSTER = {"swarm-init", "swarm-build", "swarm-up", "swarm-down", "swarm-status", "swarm-logs", "swarm-nfs-setup"}
# What a command's module has as `run`, and what the fixture `command` is.
Run = Callable[[argparse.Namespace, Context], int]
Install = Callable[[Run], None]
UPSTREAM = {"deploy": "up", "pki-custom": "custom-pki", "clean": "destroy", "wait": "wait"}


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a command `try` in the table whose function is the one that it is called with."""

    def install(run: Run) -> None:
        module = types.ModuleType("openbalena.cli.try_it")
        setattr(module, "try", declare(option("words", nargs="*"), help_text="Try it.")(run))
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(BY_NAME, "try", Command("try", "lab", "try it", "try_it"))

    return install


@pytest.mark.parametrize("name", sorted(STANDALONE - {"help"} | CLUSTER))
def test_every_command_users_know_is_there_in_its_group(name: str) -> None:
    assert BY_NAME[name].group == ("cluster" if name in CLUSTER else "standalone")


@pytest.mark.parametrize(("old", "new"), UPSTREAM.items())
def test_upstream_make_targets_are_there(old: str, new: str) -> None:
    assert BY_NAME[old].name == new


def test_no_name_is_taken_twice_and_every_group_is_known() -> None:
    names = [name for command in COMMANDS for name in (command.name, *command.aliases)]
    assert len(names) == len(set(names))
    assert {command.group for command in COMMANDS} == set(GROUPS)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.name)
def test_every_command_explains_itself(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["help", command.name])
    assert end.value.code == 0
    assert f"usage: ./open-balena.sh {command.name}" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["help"], ["-h"], ["--help"], ["--lab", "help"]])
def test_help_lists_every_command_in_its_group(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    text = capsys.readouterr().out
    for group, title in GROUPS.items():
        section = text.split(f"{title}:\n")[1].split("\n\n")[0]
        assert [line.split()[0] for line in section.splitlines()] == [
            command.name for command in COMMANDS if command.group == group
        ]


def test_help_lists_subcommands_and_other_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "--all"]) == 0
    listed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  ") and line[2] != " "]
    for leaf in LEAVES:
        if BY_NAME[leaf.words[0]].name == leaf.words[0] or len(leaf.words) == 1:
            assert [line for line in listed if re.match(f"  {leaf}  +\\w", line)], leaf


@pytest.mark.parametrize(("typed", "meant"), [("swarmup", "swarm-up"), ("stauts", "status"), ("depoly", "deploy")])
def test_an_unknown_command_names_the_nearest(typed: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([typed]) == 2
    assert capsys.readouterr().err == f"error: {typed!r} is not a command: did you mean {meant!r}?\n"


@pytest.mark.parametrize(
    ("typed", "instead"),
    [
        ("ps", "status shows"),
        ("ls", "status shows"),
        ("-V", "--version prints the version"),
        ("self-update", "update the checkout"),
        ("dump", "there is none: backup saves everything"),
        ("uninstall", "there is none: docs/"),
        ("autocomplete", "completion prints a script"),
    ],
)
def test_a_word_of_other_tools_has_an_answer_of_its_own(
    typed: str, instead: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([typed]) == 2
    said = capsys.readouterr().err
    assert instead in said and "did you mean" not in said


@pytest.mark.parametrize("word", INSTEAD)
def test_what_other_tools_call_it_is_no_command_here(word: str) -> None:
    assert word not in BY_NAME


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("destory", "destroy"), ("claen", "clean"), ("dwon", "down"), ("upp", "up"), ("swarmdown", "swarm-down")],
)
def test_what_changes_things_is_named_for_its_misspelling(typed: str, meant: str) -> None:
    assert f"did you mean {meant!r}?" in unknown(typed)
    if meant != "up":
        assert BY_NAME[meant].summary in unknown(typed), "what it removes is said too"


@pytest.mark.parametrize(
    "typed", ["cleanse", "colleen", "complete", "desktop", "deserts", "pos", "swarm", "download", "updates-now"]
)
def test_what_changes_things_is_named_for_no_other_word(typed: str) -> None:
    named = re.findall("did you mean '([^']*)'", unknown(typed))
    assert not {"destroy", "clean", "down", "up", "deploy", "swarm-up", "swarm-down", "update"} & {*named}


@pytest.mark.parametrize(
    ("left", "right", "steps"),
    [("", "up", 2), ("down", "down", 0), ("dwon", "down", 1), ("don", "down", 1), ("ps", "up", 2), ("abcd", "dcba", 3)],
)
def test_the_distance_of_two_words(left: str, right: str, steps: int) -> None:
    assert distance(left, right) == distance(right, left) == steps


def test_an_unknown_command_like_none_points_to_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["xyzzy"]) == 2
    assert "./open-balena.sh help lists the commands" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("open-balena.sh ")


@pytest.mark.parametrize(
    "words",
    [
        ["--lab", "--project-directory", "DIR", "try", "a"],
        ["try", "--lab", "a", "--project-directory=DIR"],
        ["--lab", "try", "--project-directory", "DIR", "a"],
    ],
)
def test_global_options_stand_anywhere(words: list[str], command: Install, tmp_path: Path) -> None:
    seen: list[tuple[argparse.Namespace, Context]] = []

    def run(args: argparse.Namespace, context: Context) -> int:
        seen.append((args, context))
        return 0

    command(run)
    assert main([word.replace("DIR", str(tmp_path)) for word in words]) == 0
    ((args, context),) = seen
    assert args.words == ["a"]
    assert context.lab
    assert context.project.directory == tmp_path


def test_after_two_dashes_nothing_is_ours() -> None:
    options, words = split_global_options(["lab", "shell", "n1", "--", "ls", "--lab"])
    assert not options.lab
    assert words == ["lab", "shell", "n1", "--", "ls", "--lab"]


@pytest.mark.parametrize(("value", "lab"), [("1", True), ("0", False), ("", False)])
def test_the_lab_by_environment(value: str, lab: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPEN_BALENA_LAB", value)
    assert split_global_options([])[0].lab is lab


@pytest.mark.parametrize("words", [["--project-directory"], ["try", "--project-directory", "/nowhere"]])
def test_a_project_directory_that_is_none(
    words: list[str], command: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    command(lambda args, context: 0)
    assert main(words) == 2
    assert "--project-directory" in capsys.readouterr().err


def test_wrong_arguments_are_a_sentence(command: Install, capsys: pytest.CaptureFixture[str]) -> None:
    command(lambda args, context: 0)
    assert main(["try", "--nonsense"]) == 2
    error = capsys.readouterr().err
    assert error == "error: unrecognized arguments: --nonsense (./open-balena.sh try --help)\n"


def failing(error: BaseException) -> Run:
    def run(args: argparse.Namespace, context: Context) -> int:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (UsageError(".env:3: DNS_TLD: no"), 2, "error: .env:3: DNS_TLD: no\n"),
        (OperationError("no engine"), 1, "error: no engine\n"),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(), 141, ""),
        (
            PermissionError(errno.EACCES, "Permission denied", "/srv/.env"),
            1,
            "error: /srv/.env: Permission denied: run the command as the owner, or with sudo\n",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            1,
            "error: No space left on device: free some space, then rerun the command\n",
        ),
    ],
)
def test_failures(
    error: BaseException, status: int, said: str, command: Install, capfd: pytest.CaptureFixture[str]
) -> None:
    command(failing(error))
    # A broken pipe redirects stdout's descriptor; it gets its own back.
    kept = os.dup(1)
    try:
        assert main(["try"]) == status
    finally:
        os.dup2(kept, 1)
        os.close(kept)
    assert capfd.readouterr().err == said


def _interrupted(_: argparse.Namespace, context: Context) -> int:
    context.console.progress("copying")
    raise KeyboardInterrupt


def _interrupted_wait(_: argparse.Namespace, context: Context) -> int:
    context.console.progress("deployed")
    with context.console.interruptible("It goes on"):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("run", "name", "said"),
    [
        (_interrupted, "try", "copying\n\ninterrupted: run the same command again to complete it\n"),
        (_interrupted, "swarm-drain", "copying\n\ninterrupted: the node may be drained already: swarm-activate "),
        (_interrupted_wait, "try", "deployed\n\nIt goes on\n"),
        # It has changed nothing.
        (failing(KeyboardInterrupt()), "try", ""),
    ],
)
def test_what_an_interrupted_command_leaves_is_said_once(
    run: Run, name: str, said: str, command: Install, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    command(run)
    monkeypatch.setitem(BY_NAME, "try", Command(name, "cluster", "try it", "try_it"))
    module = sys.modules["openbalena.cli.try_it"]
    monkeypatch.setattr(module, name.replace("-", "_"), getattr(module, "try"), raising=False)
    monkeypatch.setattr("openbalena.cli.commands.CHANGING", set[str]())  # no engine has the record
    assert main(["--project-directory", str(tmp_path), "try"]) == 130
    err = capsys.readouterr().err
    assert err.startswith(said) and len(err.splitlines()) == len(said.splitlines())


def test_what_is_left_is_said_of_commands_that_are_there() -> None:
    assert interrupted.LEFT.keys() <= {" ".join(leaf.words) for leaf in LEAVES}


def test_a_defect_asks_for_a_report_without_a_traceback(
    command: Install, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPEN_BALENA_DEBUG", raising=False)
    command(failing(KeyError("x")))
    assert main(["try"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: KeyError: 'x'\n")
    assert "report" in error
    assert "Traceback" not in error


def test_a_defect_shows_its_traceback_when_asked(command: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPEN_BALENA_DEBUG", "1")
    command(failing(KeyError("x")))
    with pytest.raises(KeyError):
        main(["try"])


def test_a_module_that_was_installed_and_is_gone_makes_the_environment_incomplete(
    command: Install, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    stamp = tmp_path / "requirements.lock"
    stamp.touch()
    command(failing(ModuleNotFoundError("No module named 'yaml.nodes'", name="yaml.nodes")))
    assert main(["try"]) == 1
    assert "lacks yaml.nodes: rerun the command" in capsys.readouterr().err
    assert not stamp.exists()


def test_a_module_nobody_installed_is_a_defect(
    command: Install, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    stamp = tmp_path / "requirements.lock"
    stamp.touch()
    command(failing(ModuleNotFoundError("No module named 'yamll'", name="yamll")))
    assert main(["try"]) == 1
    assert "report" in capsys.readouterr().err
    assert stamp.exists()


def test_a_reader_that_goes_away_is_no_failure_of_ours(tmp_path: Path) -> None:
    program = "import sys; from openbalena.cli.main import main; sys.exit(main(['help']))"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-c", program], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


HEAVY = {"docker", "urllib3", "cryptography", "pydantic", "requests"}


@pytest.mark.parametrize("name", sorted({command.module for command in COMMANDS}))
def test_no_command_loads_anything_heavy_before_it_runs(name: str) -> None:
    source = Path(entry.__file__).parents[2]
    program = f"import sys, openbalena.cli.{name}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(source)}
    ).stdout.split()
    assert not HEAVY & set(loaded)


def test_the_program_name_is_the_launcher() -> None:
    assert (Project().root / LAUNCHER).exists()


PROGRAM = [sys.executable, "-I", "-X", "utf8", str(Path(entry.__file__).parents[1] / "__main__.py")]


def test_a_full_disk_behind_stdout_is_said_once() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*PROGRAM, "help"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert done.returncode == 1
    assert done.stderr == "error: No space left on device: free some space, then rerun the command\n"


@pytest.mark.parametrize(("closed", "status"), [("0<&-", 0), ("1>&-", 0), ("2>&-", 0), ("0<&- 1>&- 2>&-", 0)])
def test_closed_streams_change_nothing(closed: str, status: int, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DNS_TLD=my.example.com\nOWN=$unset\n")
    words = [*PROGRAM, "--project-directory", str(tmp_path), "showenv", "--json"]
    done = subprocess.run(
        ["bash", "-c", f'exec "$@" {closed}', "bash", *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == status, done.stderr
    assert ("1>" in closed) == (done.stdout == "") and "defect" not in done.stderr
    if done.stdout:
        assert json.loads(done.stdout)["DNS_TLD"] == "my.example.com"


def test_no_argument_of_a_command_hides_its_command_line() -> None:
    parsed = command_parser(BY_NAME["lab"]).parse_args(["shell", "node1", "ls", "-l"])
    assert (parsed.words, parsed.command_line) == (["ls", "-l"], ["shell", "node1", "ls", "-l"])

    def names(parser: argparse.ArgumentParser) -> set[str]:
        below = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
        return {each.dest for each in parser._actions}.union(
            *(names(one) for each in below for one in each.choices.values())
        )

    for command in COMMANDS:
        assert "command_line" not in names(command_parser(command)), command.name


def test_sigterm_ends_a_command_as_an_interrupt_does() -> None:
    """systemd sends it to a scheduled backup that runs when the machine is shut down."""
    holding = """
import runpy, sys, time
import openbalena.cli.main as command

def main():
    try:
        print("lock acquired", flush=True)
        time.sleep(60)
    finally:
        print("lock released", flush=True)

command.main = main
runpy.run_path(sys.argv[1])
"""
    path = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    words = [sys.executable, "-c", holding, str(ROOT / "src" / "openbalena" / "__main__.py")]
    with subprocess.Popen(words, env=path, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "lock acquired\n"
        running.terminate()
        assert running.stdout.read() == "lock released\n"
    assert running.returncode == 143
