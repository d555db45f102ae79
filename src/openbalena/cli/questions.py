"""Asking for settings at a terminal."""

import getpass
import sys
from collections.abc import Collection, Mapping

from openbalena.errors import UsageError
from openbalena.settings.rules import malformed
from openbalena.settings.values import MASK
from openbalena.settings.variables import Variable, variables

CLEAR = "-"


def ask(given: Mapping[str, str], current: Mapping[str, str], only: Collection[str] = ()) -> dict[str, str]:
    """The replies to every question (or those of `only`) that `given` (options) does not answer, by variable.

    `current` holds what is set so far; an empty reply keeps it. Raises UsageError at the end of input.
    """
    known = {**current, **given}
    print(f"Enter keeps what stands in brackets, {CLEAR} empties it.", file=sys.stderr)
    for name, variable in variables().items():
        if (
            not variable.question
            or name in given
            or (only and name not in only)
            or known.get(variable.when, "true") in ("", "false")
        ):
            continue
        known[name] = _reply(variable, _offer(variable, known))
    return {name: value for name, value in known.items() if current.get(name, "") != value}


def _offer(variable: Variable, known: Mapping[str, str]) -> str:
    """What an empty reply means."""
    value = known.get(variable.name, "")
    if variable.required:
        return "" if value == variable.default else value
    return value or variable.derive.replace("${DNS_TLD}", known.get("DNS_TLD", "")) or variable.default


def _reply(variable: Variable, offer: str) -> str:
    hint = (MASK if variable.secret else offer) if offer else ""
    while True:
        prompt = f"{variable.question}{f' [{hint}]' if hint else ''}: "
        try:
            reply = _secret(prompt) if variable.secret else _line(prompt)
        except EOFError:
            raise UsageError(f"{variable.name}: no answer: say {variable.option or variable.name}") from None
        value = "" if reply == CLEAR else reply or offer
        problem = malformed(variable.name, value) if value else f"{variable.name} is needed" * variable.required
        if not problem:
            return value
        print(problem, file=sys.stderr)


def _line(prompt: str) -> str:
    print(prompt, end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.strip()


def _secret(prompt: str) -> str:
    return getpass.getpass(prompt, stream=sys.stderr).strip()
