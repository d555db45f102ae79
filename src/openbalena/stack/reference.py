"""The table of docs/compose-to-swarm.md, from the list of rules."""

import re

from openbalena.compose.normal.service import KEYS
from openbalena.stack.rules import RULES

BEGIN, END = "<!-- rules: begin -->", "<!-- rules: end -->"
# What the loader carries out before any rule sees the service.
_LOADED = {
    "env_file": ("kept", "read when the stack is compiled; its variables become `environment`"),
    "extends": ("refused", "carried out when the stack is compiled"),
    "label_file": ("refused", "read when the stack is compiled; its labels become `labels`"),
}


def table() -> str:
    """One line for each key of a service: what compiling makes of it, and what plain `docker stack deploy` does."""
    lines = ["| key | compiled | in Swarm | plain `docker stack deploy` |", "|---|---|---|---|"]
    for key in sorted({*KEYS, *RULES}):
        if key in _LOADED:
            native, meaning = _LOADED[key]
            lines.append(f"| `{key}` | translated | {meaning} | {native} |")
            continue
        rule = RULES[key]
        meaning = rule.meaning.replace("|", "\\|").rstrip(".")
        lines.append(f"| `{key}` | {rule.status} | {meaning} | {rule.native} |")
    return "\n".join(lines)


def with_table(text: str) -> str:
    """`text` with the lines between the two marks replaced by the table."""
    return re.sub(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}\n{table()}\n{END}", text, flags=re.DOTALL)
