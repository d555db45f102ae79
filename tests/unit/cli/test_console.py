"""Results on stdout, progress on stderr, questions only at a terminal."""

import json
import os
import pty
import sys
import tty

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbalena.base.errors import UsageError
from openbalena.cli.console import WIDTH, Console, columns, wrap

CELL = st.text(st.characters(codec="ascii", exclude_categories=("Cc", "Zs")), min_size=1)


def test_streams(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.say("result")
    console.progress("step")
    console.warn("beware")
    assert capsys.readouterr() == ("result\n", "step\nwarning: beware\n")


def test_quiet_withholds_progress_alone(capsys: pytest.CaptureFixture[str]) -> None:
    logged: list[str] = []
    console = Console(log=logged.append)
    console.quiet = True
    console.progress("step")
    console.follow_tasks()([])
    console.warn("beware")
    console.error("it failed")
    with pytest.raises(KeyboardInterrupt), console.interruptible("It goes on"):
        raise KeyboardInterrupt
    console.say("result")
    assert capsys.readouterr() == ("result\n", "warning: beware\nerror: it failed\n\nIt goes on\n")
    assert logged == ["step", "warning: beware", "error: it failed", "\nIt goes on"]


def test_who_leaves_a_wait_is_told_what_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), Console().interruptible("It goes on; status shows it"):
        raise KeyboardInterrupt
    assert capsys.readouterr() == ("", "\nIt goes on; status shows it\n")
    with Console().interruptible("It goes on"):
        pass
    assert capsys.readouterr() == ("", "")


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    Console().table([("NODE", "TASKS"), ("n1", 12), ("node-2", "")])
    assert capsys.readouterr().out == "NODE    TASKS\nn1      12\nnode-2\n"


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    Console().json({"name": "ü", "tasks": [1]})
    assert json.loads(capsys.readouterr().out) == {"name": "ü", "tasks": [1]}


@given(st.integers(1, 4).flatmap(lambda width: st.lists(st.tuples(*[CELL] * width), min_size=1)))
def test_columns_keep_every_cell_and_stand_below_each_other(rows: list[tuple[str, ...]]) -> None:
    lines = columns(rows)
    assert [tuple(line.split()) for line in lines] == rows
    starts = [[line.index(cell) for cell in row[:1]] for line, row in zip(lines, rows, strict=True)]
    assert starts == [[0]] * len(rows)


def test_a_long_last_column_goes_on_below_itself() -> None:
    labels = ", ".join(f"data.volume-{number}" for number in range(9))
    head, first, *more = columns([("NODE", "STATE", "LABELS"), ("node1", "ready", labels)])
    assert more and max(map(len, [first, *more])) <= WIDTH
    assert {line[: head.index("LABELS")] for line in more} == {" " * head.index("LABELS")}
    assert " ".join(line[head.index("LABELS") :] for line in [first, *more]) == labels


def test_folding_leaves_a_command_whole() -> None:
    command = "`docker node update --label-add openbalena.ingress=true NODE`"
    assert wrap(f"make a second node one: {command}, then point DNS at it-too", 30) == [
        "make a second node one:",
        f"{command},",
        "then point DNS at it-too",
    ]


def test_yes_agrees_without_a_question(capsys: pytest.CaptureFixture[str]) -> None:
    assert Console().agreeing().confirm("Remove db-data?")
    assert capsys.readouterr() == ("", "")


def test_without_a_terminal_a_script_must_say_yes() -> None:
    with pytest.raises(UsageError, match="Remove db-data.* pass --yes"):
        Console().confirm("Remove db-data?")


@pytest.mark.parametrize(("typed", "agreed"), [("y", True), ("Yes", True), ("n", False), ("", False), ("yep", False)])
def test_at_a_terminal_only_yes_agrees(typed: str, agreed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs) as stdin, os.fdopen(os.dup(theirs), "w") as stderr:
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(sys, "stderr", stderr)
        os.write(ours, typed.encode() + b"\n")
        assert Console().confirm("Remove db-data?") is agreed
        monkeypatch.undo()
    os.close(ours)


def test_a_question_comes_with_what_was_withheld_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    tty.setraw(theirs)  # no echo of the answer
    console = Console()
    console.quiet = True
    with os.fdopen(theirs) as stdin, os.fdopen(os.dup(theirs), "w") as stderr:
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(sys, "stderr", stderr)
        os.write(ours, b"n\n")
        console.progress("db-data has 3 GiB")
        assert not console.confirm("Remove db-data?")
        monkeypatch.undo()
    shown = os.read(ours, 4096).decode()
    os.close(ours)
    assert shown.partition("db-data has")[2].splitlines() == [" 3 GiB", "Remove db-data? [y/N] "]
