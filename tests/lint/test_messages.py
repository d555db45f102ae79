"""The golden file of all messages; a changed message changes it in the same commit."""

from pathlib import Path

from messages import GOLDEN, document, texts


def test_every_message_is_in_the_golden_file() -> None:
    recorded = GOLDEN.read_text().splitlines()
    current = document().splitlines()
    changes = [f"- {line}" for line in recorded if line not in current]
    changes += [f"+ {line}" for line in current if line not in recorded]
    assert recorded == current, "run: python tests/lint/messages.py\n" + "\n".join(changes)


def test_messages_are_read_from_the_syntax_tree(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        r"""'''A docstring of the module.'''
NAME = "value"
LIMIT = 3
'''A docstring of an attribute.'''
SQL = "SELECT name FROM users"
SHELL = "set -e\nrm file one"


def command(name: str, count: int) -> str:
    '''A docstring of a function.'''
    warn(f"the volume {name!r} has "
         f"{count:>3} {'free blocks' if count else 'no free blocks'}")
    return "the first line\n  the second line "
"""
    )
    assert texts(module) == [
        "the volume {…} has {…} {…}",
        "free blocks",
        "no free blocks",
        "the first line\n  the second line",
    ]
