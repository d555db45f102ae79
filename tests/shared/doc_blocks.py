"""The commands of a page in docs/, run in order as its reader would.

A block is what stands between ```sh and ```. What a test has to know of it stands before it, as comments that no reader
sees:

    <!-- not run here: REASON -->   it is left out
    <!-- typed: NAME -->            at its prompts what the test has under NAME is typed, on a terminal

A block between ```text and ``` shows what the block before it prints on stdout, where `…` stands for anything. It says
nothing where that block was left out. Other blocks (yaml, ini) are no commands.
"""

import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

_MARK = re.compile(r"<!-- (not run here|typed): (.+) -->")
# Each block has a shell of its own, so that one which fails ends there. Variables and the directory last.
_SHELL = 'set -a; [ ! -e "$0" ] || . "$0"; set -eu; {\n%s\n}\n{ export -p; printf "cd %%q\\n" "$PWD"; } >"$0"'


@dataclass(frozen=True)
class Block:
    """`line` is the number of its first line; `shown` is None where the page does not show what it prints."""

    line: int
    text: str
    not_run: str = ""
    typed: str = ""
    shown: str | None = None


def blocks(page: str) -> list[Block]:
    """The blocks of a page. Raises ValueError for a mark with no block, and for what is shown of no block."""
    found: list[Block] = []
    marks: dict[str, str] = {}
    for line, language, text in _parts(page):
        if language == "mark":
            name, _, value = text.partition(": ")
            marks[name] = value
        elif language == "sh":
            found.append(Block(line, text, marks.pop("not run here", ""), marks.pop("typed", "")))
        elif language == "text":
            if not found or found[-1].shown is not None:
                raise ValueError(f"line {line}: shows the output of no block")
            found[-1] = replace(found[-1], shown=text)
        if marks and language != "mark":
            raise ValueError(f"line {line}: a mark that belongs to no block of commands: {', '.join(marks)}")
    if marks:
        raise ValueError(f"a mark at the end of the page: {', '.join(marks)}")
    return found


def _parts(page: str) -> Iterator[tuple[int, str, str]]:
    """First line, language and text of each fenced block, `mark` for a comment; prose comes as language ""."""
    language, start = "", 0
    held: list[str] = []
    for number, line in enumerate(page.splitlines(), 1):
        if language:
            if line == "```":
                yield start, language, "\n".join(held)
                language = ""
            else:
                held.append(line)
        elif line.startswith("```"):
            language, start, held = line.removeprefix("```") or "plain", number + 1, []
        elif match := _MARK.fullmatch(line):
            yield number, "mark", f"{match[1]}: {match[2]}"
        elif line:
            yield number, "", line
    if language:
        raise ValueError(f"line {start}: the block does not end")


def run(
    found: Sequence[Block],
    directory: Path,
    environment: Mapping[str, str],
    *,
    instead: Mapping[str, str],
    typed: Mapping[str, str],
    prefix: Sequence[str] = (),
    within: float,
) -> None:
    """Run the blocks that are run here in `directory`, with `instead` put in place of words of the page.

    `prefix` is the command that bash is run by. Raises AssertionError with the block's line and all it printed where
    one fails, takes more than `within` seconds, or prints something else than the page shows.
    """
    state = directory / ".doc-blocks"
    state.unlink(missing_ok=True)
    for block in found:
        if block.not_run:
            continue
        text, shown = _reworded(block.text, instead), _reworded(block.shown or "", instead)
        command = [*prefix, "bash", "-c", _SHELL % text, str(state)]
        done = _call(command, directory, environment, typed[block.typed] if block.typed else "", within)
        what = f"line {block.line}:\n{text}\n-- exit code {done.returncode}\n{done.stdout}\n-- stderr\n{done.stderr}"
        assert done.returncode == 0, what
        if block.shown is not None:
            assert fits(done.stdout, shown), f"{what}\n-- the page shows\n{shown}"


def fits(printed: str, shown: str) -> bool:
    """Whether `printed` is what is `shown`: `…` in a line stands for any text, a line of it alone for any lines."""
    lines = [
        r"(?:.*\n)*" if line == "…" else ".*".join(map(re.escape, line.rstrip().split("…"))) + r"[ \t]*\n"
        for line in shown.strip().splitlines()
    ]
    return re.fullmatch("".join(lines), printed.strip() + "\n") is not None


def _reworded(text: str, instead: Mapping[str, str]) -> str:
    for word, other in instead.items():
        text = text.replace(word, other)
    return text


def _call(
    command: list[str], directory: Path, environment: Mapping[str, str], typed: str, within: float
) -> "subprocess.CompletedProcess[str]":
    """Run `command`; with `typed` its input is a terminal on which that was typed."""
    ours, its = os.openpty()
    try:
        os.write(ours, typed.encode() + b"\r" if typed else b"")
        with subprocess.Popen(
            command,
            cwd=directory,
            env=dict(environment),
            stdin=its if typed else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as started:
            try:
                out, err = started.communicate(timeout=within)
            except subprocess.TimeoutExpired:
                os.killpg(started.pid, signal.SIGKILL)
                out, err = started.communicate()
                raise AssertionError(f"not done within {within} s: {command[-2]}\n{out}\n{err}") from None
        return subprocess.CompletedProcess(command, started.returncode, out, err)
    finally:
        os.close(ours)
        os.close(its)
