"""Placeholders for secret values, so that the stack compiler never holds a secret.

Interpolation sees `mark("NAME")` instead of the value. In a compiled stack the placeholder becomes `${NAME}`, in a
secret file the value; both happen last, in stack.render.
"""

import re
from collections.abc import Callable

# Private-use characters (Unicode 16.0, section 23.5): no Compose file has a reason to contain them.
_OPEN, _CLOSE = "\ue0f0", "\ue0f1"
_MARK = re.compile(f"{_OPEN}([A-Za-z_][A-Za-z0-9_]*){_CLOSE}")


def placeholder_for(name: str) -> str:
    """The placeholder for the value of the variable `name`."""
    return f"{_OPEN}{name}{_CLOSE}"


def placeholders_in(text: str) -> set[str]:
    """The variables whose placeholders occur in `text`."""
    return set(_MARK.findall(text))


def substitute(text: str, value: Callable[[str], str]) -> str:
    """`text` with each placeholder replaced by `value(name)`."""
    return _MARK.sub(lambda match: value(match.group(1)), text)
