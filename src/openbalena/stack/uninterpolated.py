"""Stacks that keep their variables: `docker stack` supports only flat forms and silently mangles the others."""

import re
from typing import Any

from openbalena.base.errors import UsageError
from openbalena.compose.interpolation import MalformedError, VariableReference, scan
from openbalena.compose.tree import Map, Position, Seq

_LONE = re.compile(r"\$(?![A-Za-z_{])")
# The order in which docker/cli (cli/compose/template) searches for them anywhere between the braces.
_OPERATORS = (":-", "-", ":?", "?")
_IN_WORD = re.compile(r"\$[A-Za-z_{$]|\}")


def check_expressions(value: Any, position: Position | None = None) -> None:
    """Raise UsageError, with the place, if `docker stack` reads a variable in `value` differently from Compose."""
    if isinstance(value, Map):
        for key, item in value.items():
            if _may_have_one(item):
                check_expressions(item, value.at(key))
    elif isinstance(value, Seq):
        for item, place in value.located():
            if _may_have_one(item):
                check_expressions(item, place)
    elif isinstance(value, str) and "$" in value:
        try:
            pieces = list(scan(value))
        except MalformedError as error:
            raise UsageError(str(error), where=position) from None
        outside = value
        for piece in pieces:
            if isinstance(piece, VariableReference):
                outside = outside.replace(value[piece.start : piece.end], "", 1)
                if mangled(piece):
                    raise UsageError(
                        f"`docker stack` mangles {value[piece.start : piece.end]}",
                        "write a flat form without - ? } $ in its text, or move the variable to x-swarm.secret_env",
                        where=position,
                    )
        if _LONE.search(outside.replace("$$", "")):
            raise UsageError(
                "`docker stack` refuses a dollar sign that does not start a variable", "write $$", where=position
            )


def _may_have_one(value: Any) -> bool:
    """Whether there may be a variable in `value`: most values are strings without one, or numbers."""
    return "$" in value if type(value) is str else isinstance(value, (Map, Seq))


def mangled(variable: VariableReference) -> bool:
    """Whether `docker stack` reads the variable differently from Compose."""
    inside = variable.operator + variable.word
    first = next((operator for operator in _OPERATORS if operator in inside), "")
    return first != variable.operator or _IN_WORD.search(variable.word) is not None
