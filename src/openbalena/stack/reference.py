"""The table in docs/compose-to-swarm.md, generated from the rules."""

import re

from openbalena.compose.normal.service import KEYS
from openbalena.stack.rules import RULES

BEGIN, END = "<!-- rules: begin -->", "<!-- rules: end -->"
# Keys that the loader resolves before the rules are applied.
_LOADED = {
    "env_file": ("kept", "read when the stack is compiled; its variables become `environment`"),
    "extends": ("refused", "resolved when the stack is compiled"),
    "label_file": ("refused", "read when the stack is compiled; its labels become `labels`"),
}


def table() -> str:
    """One line per service key: what the compiler does with it, and what plain `docker stack deploy` does."""
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
    """`text` with the lines between the two markers replaced by the table."""
    return re.sub(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}\n{table()}\n{END}", text, flags=re.DOTALL)
