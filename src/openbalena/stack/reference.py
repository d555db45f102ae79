"""The table in docs/compose-to-swarm.md, generated from the rules."""

import re

from openbalena.stack.explain import all_keys, explain

BEGIN, END = "<!-- rules: begin -->", "<!-- rules: end -->"


def table() -> str:
    """One line per service key: what the compiler does with it, and what plain `docker stack deploy` does."""
    lines = ["| key | compiled | in Swarm | plain `docker stack deploy` |", "|---|---|---|---|"]
    for key in all_keys():
        found = explain(key)
        meaning = found.meaning.replace("|", "\\|")
        lines.append(f"| `{key}` | {found.compiled} | {meaning} | {found.native} |")
    return "\n".join(lines)


def with_table(text: str) -> str:
    """`text` with the lines between the two markers replaced by the table."""
    return re.sub(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}\n{table()}\n{END}", text, flags=re.DOTALL)
