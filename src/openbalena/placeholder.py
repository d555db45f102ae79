"""Stand-ins for secret values, so that what compiles a stack never holds a secret.

Interpolation sees `mark("NAME")` in place of the value. A compiled stack turns the mark into `${NAME}`, a secret file
into the value; both happen at the very end (stack.render).
"""

import re
from collections.abc import Callable

# Private-use characters (Unicode 16.0, section 23.5): no Compose file has a reason to hold them.
_OPEN, _CLOSE = "\ue0f0", "\ue0f1"
_MARK = re.compile(f"{_OPEN}([A-Za-z_][A-Za-z0-9_]*){_CLOSE}")


def mark(name: str) -> str:
    """The stand-in for the value of the variable `name`."""
    return f"{_OPEN}{name}{_CLOSE}"


def names(text: str) -> set[str]:
    """The variables whose stand-ins occur in `text`."""
    return set(_MARK.findall(text))


def fill(text: str, value: Callable[[str], str]) -> str:
    """`text` with each stand-in replaced by `value(name)`."""
    return _MARK.sub(lambda match: value(match.group(1)), text)
