"""Every text in the source that a user may read, as one list: `python tests/lint/messages.py` writes messages.txt.

The rule is coarse on purpose: each string of a module with a letter and a space counts as a message, except docstrings,
SQL and shell. So a few texts are in the list that nobody reads, and no message is missing.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "openbalena"
GOLDEN = Path(__file__).with_name("messages.txt")
HOLE = "{…}"

_LETTER = re.compile(r"[^\W\d_]")
# The first word of a statement, which is in upper case only in SQL.
_SQL = re.compile(r"(SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|GRANT|REVOKE|DO|SET|REASSIGN|WITH) |BEGIN;")
_SHELL = re.compile(r"^set -[a-z]|^#!/| \|\| | && |; (do|then)\b|>/dev/null|^exec ", re.MULTILINE)


def texts(module: Path) -> list[str]:
    """The messages of `module` in the order of its source, each once, with HOLE for every value filled in."""
    tree = ast.parse(module.read_text(), str(module))
    docstrings = set(_docstrings(tree))
    found = [text.strip() for node, text in _strings(tree) if id(node) not in docstrings]
    return list(dict.fromkeys(text for text in found if _is_message(text)))


def document(source: Path = SOURCE) -> str:
    """All messages, one to a line, below the name of their module."""
    parts = []
    for module in sorted(source.rglob("*.py")):
        lines = [text.replace("\n", "\\n") for text in texts(module)]
        if lines:
            parts.append("".join(f"{line}\n" for line in (f"# {module.relative_to(source)}", *lines)))
    return "\n".join(parts)


def _is_message(text: str) -> bool:
    return " " in text and bool(_LETTER.search(text)) and not _SQL.match(text) and not _SHELL.search(text)


def _docstrings(tree: ast.AST) -> Iterator[int]:
    """Strings that are statements of their own: docstrings, also those of attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield id(node.value)


def _strings(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """The strings below `node` in source order; those in a hole of an f-string follow it."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            yield node, node.value
    elif isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else HOLE for part in node.values]
        yield node, "".join(map(str, parts))
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                yield from _strings(part.value)
    else:
        for child in ast.iter_child_nodes(node):
            yield from _strings(child)


if __name__ == "__main__":
    GOLDEN.write_text(document())
