"""docs/commands.md, generated from the parsers: `python -m openbalena.cli.reference >docs/commands.md`."""

import argparse
import re
from collections.abc import Iterator

from openbalena.base.errors import OperationError, UsageError
from openbalena.cli.commands import COMMANDS, GROUPS, PROGRAM, Command
from openbalena.cli.help import OPTIONS
from openbalena.cli.main import BROKEN_PIPE, INTERRUPTED
from openbalena.cli.options import command_parser, subcommands

HEAD = f"""\
# Commands

Every command with its options. `{PROGRAM} help COMMAND` prints the same at a terminal. The guides are
[docker-compose.md](docker-compose.md) and [docker-swarm-deployment.md](docker-swarm-deployment.md).

This page is generated from `src/openbalena/cli`; change it there.
"""
EXIT_CODES = {
    0: "done, or all is well",
    OperationError.exit_code: "it failed, or what was examined is not as it should be; stderr says why",
    UsageError.exit_code: "wrong use or wrong settings; nothing was changed",
    INTERRUPTED: "interrupted by Ctrl-C; if something is half done, stderr says what to do",
    BROKEN_PIPE: "the reader of stdout, such as `head`, has exited",
}
_OUTPUT = """\
Results go to stdout, progress, warnings and questions to stderr. With `--json`, stdout has one JSON document and
nothing else.
"""


def markdown() -> str:
    """The whole page."""
    parts = [HEAD, "\n## For every command\n\n", *_table(("Option", "Meaning"), [(f"`{a}`", b) for a, b in OPTIONS])]
    codes = [(str(code), meaning) for code, meaning in EXIT_CODES.items()]
    parts += ["\n", *_table(("Exit code", "Meaning"), codes), "\n", _OUTPUT]
    for group, title in GROUPS.items():
        parts.append(f"\n## {title}\n")
        for command in COMMANDS:
            if command.group == group:
                parts += _command(command)
    return "".join(parts)


def _command(command: Command) -> Iterator[str]:
    parser = command_parser(command)
    yield f"\n### {command.name}\n\n"
    yield from _synopsis(parser)
    if command.aliases:
        yield f"Also called {', '.join(f'`{alias}`' for alias in command.aliases)}.\n\n"
    yield _text(parser)
    yield from _arguments(parser)
    for name, below in subcommands(parser).items():
        yield f"\n#### {command.name} {name}\n\n"
        yield from _synopsis(below)
        yield _text(below)
        yield from _arguments(below)


def _synopsis(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The arguments in their order; options are in the table."""
    words = [_positional(each) for each in parser._actions if not each.option_strings]
    options = ["[options]"] if _options(parser) else []
    yield f"    {' '.join([*parser.prog.split(), *words, *options])}\n\n"


def _positional(action: argparse.Action) -> str:
    if isinstance(action, argparse._SubParsersAction):
        return "SUBCOMMAND"
    name = str(action.metavar)
    forms = {"?": f"[{name}]", "*": f"[{name}…]", "+": f"{name}…", argparse.REMAINDER: f"[{name}…]"}
    return forms.get(str(action.nargs), name)


def _text(parser: argparse.ArgumentParser) -> str:
    """The help; paragraphs in columns are kept as they are."""
    paragraphs = (parser.description or "").split("\n\n")
    return (
        "\n\n".join(
            re.sub("^", "    ", each, flags=re.M) if "  " in each else _escaped(each) for each in paragraphs
        ).rstrip()
        + "\n"
    )


def _arguments(parser: argparse.ArgumentParser) -> Iterator[str]:
    positionals = [each for each in parser._actions if not each.option_strings and each.help]
    rows = [(f"`{each.metavar}`", _help(parser, each)) for each in positionals]
    rows += [(_option(each), _help(parser, each)) for each in _options(parser)]
    if rows:
        yield "\n"
        yield from _table(("Argument" if positionals else "Option", "Meaning"), rows)
    for exclusive in parser._mutually_exclusive_groups:
        names = [f"`{each.option_strings[-1]}`" for each in exclusive._group_actions]
        yield f"\nOnly one of {', '.join(names[:-1])} and {names[-1]} can be given.\n"


def _options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [each for each in parser._actions if each.option_strings and each.dest != "help"]


def _option(action: argparse.Action) -> str:
    value = ""
    if action.nargs != 0:
        choices = "|".join(map(str, action.choices or ()))
        value = f" {action.metavar or choices}"
    *short, name = action.option_strings
    return ", ".join([*(f"`{each}`" for each in short), f"`{name}{value}`"])


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    return parser._get_formatter()._expand_help(action) if action.help else ""


def _table(head: tuple[str, str], rows: list[tuple[str, str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |\n|---|---|\n"
    for row in rows:
        cells = (_escaped(cell).replace("|", "\\|") for cell in row)
        yield f"| {' | '.join(cells)} |\n"


def _escaped(text: str) -> str:
    """`text` outside of code spans without what Markdown would interpret."""
    pieces = re.split("(`[^`]*`)", text)
    return "".join(each if each.startswith("`") else re.sub(r"([<*])", r"\\\1", each) for each in pieces)


if __name__ == "__main__":
    print(markdown(), end="")
