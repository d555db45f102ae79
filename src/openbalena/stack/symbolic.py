"""Stacks whose variables stay: `docker stack` understands flat forms only and mangles the rest without an error."""

import re
from typing import Any

from openbalena.compose.interpolation import MalformedError, Variable, scan
from openbalena.compose.tree import Map, Position, Seq
from openbalena.errors import UsageError

_LONE = re.compile(r"\$(?![A-Za-z_{])")


def check(value: Any, position: Position | None = None) -> None:
    """Raise UsageError, with the place, for a nested variable, `:+` or `+` anywhere in `value`."""
    if isinstance(value, Map):
        for key, item in value.items():
            check(item, value.at(key))
    elif isinstance(value, Seq):
        for item, place in value.located():
            check(item, place)
    elif isinstance(value, str) and "$" in value:
        if _LONE.search(value.replace("$$", "")):
            raise UsageError(f"{position}: `docker stack` refuses a dollar sign that starts no variable: write $$")
        try:
            variables = [piece for piece in scan(value) if isinstance(piece, Variable)]
        except MalformedError as error:
            raise UsageError(f"{position}: {error}") from None
        for variable in variables:
            if variable.operator.endswith("+") or "$" in variable.word:
                raise UsageError(
                    f"{position}: `docker stack` mangles ${{{variable.name}{variable.operator}…}}: write a flat form,"
                    " or move the variable into x-swarm.secret_env"
                )
