"""Asking for settings at a terminal."""

import getpass
import sys
from collections.abc import Collection, Mapping

from openbalena.base.errors import UsageError
from openbalena.settings.questions import CLEAR, default_reply, is_asked, parse_reply
from openbalena.settings.values import MASK
from openbalena.settings.variables import Variable, variables


def at_terminal() -> bool:
    """Whether a user can answer: replies come from stdin, questions go to stderr."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask(given: Mapping[str, str], current: Mapping[str, str], only: Collection[str] = ()) -> dict[str, str]:
    """The replies to every question (or those of `only`) that `given` (options) does not answer, by variable.

    `current` holds what is set so far; an empty reply keeps it. Raises UsageError at the end of input.
    """
    known = {**current, **given}
    print(f"Press Enter to keep the value in brackets; type {CLEAR} to clear it.", file=sys.stderr)
    for name, variable in variables().items():
        if is_asked(variable, known, given, only):
            known[name] = _reply(variable, default_reply(variable, known))
    return {name: value for name, value in known.items() if current.get(name, "") != value}


def _reply(variable: Variable, default: str) -> str:
    prompt = _prompt(variable, default)
    while True:
        try:
            reply = _secret(prompt) if variable.secret else _line(prompt)
        except EOFError:
            how = f"pass {variable.option}" if variable.option else f"set the environment variable {variable.name}"
            raise UsageError(f"{variable.name}: no answer: {how}") from None
        value, problem = parse_reply(variable, reply, default)
        if not problem:
            return value
        print(problem, file=sys.stderr)


def _prompt(variable: Variable, default: str) -> str:
    if variable.type == "boolean":  # as Console.confirm asks
        return f"{variable.question} [{'Y/n' if default == 'true' else 'y/N'}] "
    hint = (MASK if variable.secret else default) if default else ""
    return f"{variable.question}{f' [{hint}]' if hint else ''}: "


def _line(prompt: str) -> str:
    print(prompt, end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.strip()


def _secret(prompt: str) -> str:
    return getpass.getpass(prompt, stream=sys.stderr).strip()
