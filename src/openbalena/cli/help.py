"""The list of commands by group, and the nearest name to a mistyped one."""

import difflib

from openbalena.cli.commands import BY_NAME, COMMANDS, GROUPS
from openbalena.cli.console import columns

PROGRAM = "./open-balena.sh"
OPTIONS = (
    ("--lab", "act on the local cluster (or OPEN_BALENA_LAB=1)"),
    ("--project-directory DIR", "where .env, pki and overrides lie (default: the checkout)"),
    ("-h, --help", "this list, or the help of a command"),
    ("--version", "print the version"),
)


def overview() -> str:
    """Every command, by group."""
    rows: dict[str, list[tuple[str, str]]] = {group: [] for group in GROUPS}
    for command in COMMANDS:
        rows[command.group].append((command.name, command.summary))
    width = max(len(left) for group in (*rows.values(), OPTIONS) for left, _ in group)
    sections = [f"usage: {PROGRAM} [options] COMMAND [arguments]"]
    for title, group in [(GROUPS[name], rows[name]) for name in GROUPS] + [("Options", list(OPTIONS))]:
        sections.append("\n".join([f"{title}:", *columns((f"  {left.ljust(width)}", right) for left, right in group)]))
    return "\n\n".join([*sections, f"{PROGRAM} help COMMAND tells more about one command."])


def unknown(name: str) -> str:
    """What to say to a name that is no command."""
    near = difflib.get_close_matches(name, BY_NAME, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"{PROGRAM} help lists the commands"
    return f"{name!r} is not a command: {hint}"
