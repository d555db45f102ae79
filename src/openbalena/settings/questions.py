"""Which settings a user is asked for, what an empty reply means, and whether a reply is valid. Nothing here asks."""

from collections.abc import Collection, Mapping

from openbalena.settings.rules import malformed
from openbalena.settings.variables import Variable

# The reply that clears a setting: an empty one keeps it.
CLEAR = "-"
_YES_OR_NO = {"y": "true", "yes": "true", "n": "false", "no": "false"}


def is_asked(variable: Variable, known: Mapping[str, str], given: Collection[str], only: Collection[str] = ()) -> bool:
    """Whether there is a question for `variable`, which `given` (the options that were passed) does not answer.

    `known` holds what is set and answered so far: a question may depend on another setting. `only`, if not empty,
    limits the questions to these variables.
    """
    if not variable.question or variable.name in given or (only and variable.name not in only):
        return False
    return known.get(variable.when, "true") not in ("", "false")


def default_reply(variable: Variable, known: Mapping[str, str]) -> str:
    """The value that an empty reply stands for; "" if there is none, so that a required variable must be answered."""
    value = known.get(variable.name, "")
    if variable.required:
        return "" if value == variable.default else value
    return value or variable.derive.replace("${DNS_TLD}", known.get("DNS_TLD", "")) or variable.default


def parse_reply(variable: Variable, reply: str, default: str) -> tuple[str, str]:
    """The value that `reply` gives, and what is wrong with it ("" for nothing)."""
    value = "" if reply == CLEAR else reply or default
    if variable.type == "boolean":
        value = _YES_OR_NO.get(value.lower(), value)
        if value not in ("", "true", "false"):
            return value, f"expected y or n, not {reply}"
    if value:
        return value, malformed(variable.name, value)
    return value, f"{variable.name} is required" if variable.required else ""
