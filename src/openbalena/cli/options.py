"""How a command declares its options and its function, and how these are parsed and called.

A command is a function of the parsed options and the Context, with `@command(OPTIONS …)`; its docstring is the
command's help, and what it returns the exit status (None is 0). One with actions, such as `pki show`, is a `group`.
"""

import argparse
import importlib
import inspect
from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from openbalena.base.errors import UsageError
from openbalena.cli.argument_types import lines, seconds, since, time_text
from openbalena.cli.commands import DIRECTORY_OPTION, PROGRAM, Command
from openbalena.cli.console import Context
from openbalena.cli.suggestions import suggestion

EPILOG = f"--lab and {DIRECTORY_OPTION} DIR are valid for every command: {PROGRAM} help"

# Adds one option to a parser, or several to a group of options that exclude each other.
Option = Callable[[argparse._ActionsContainer], object]
Run = Callable[[Namespace, Context], int | None]


def option(*names: str, **settings: Any) -> Option:
    """An option or argument, with the settings of argparse's add_argument."""
    return lambda parser: parser.add_argument(*names, **settings)


def flag(name: str, text: str) -> Option:
    """An option without a value."""
    return option(name, action="store_true", help=text)


def one_of(*options: Option) -> Option:
    """Options of which only one may be given."""

    def add(parser: argparse._ActionsContainer) -> None:
        exclusive = parser.add_mutually_exclusive_group()
        for each in options:
            each(exclusive)

    return add


def timeout(default: float, text: str = "how long to wait") -> Option:
    """`--timeout`: `default`, and what the command gets, in seconds; and `--quiet`, since a wait is reported."""
    text = f"{text}: seconds, or such as 90s, 10m, 2h (default: {time_text(default)})"

    def add(parser: argparse._ActionsContainer) -> None:
        parser.add_argument("--timeout", metavar="TIME", type=seconds, default=default, help=text)
        QUIET(parser)

    return add


def take_over(condition: str = "") -> Option:
    """`--take-over`, for a lock that its owner does not release any more."""
    return option("--take-over", metavar="LOCK", default="", help=f"{condition}take over a stale deploy lock")


def log_lines(of_each: str) -> tuple[Option, ...]:
    """Which lines of a log are shown."""
    return (
        option("-f", "--follow", action="store_true", help="follow the log output until Ctrl-C"),
        option("--tail", metavar="N", type=lines, help=f"show the last N lines of each {of_each} (default: 100)"),
        option(
            "--since",
            metavar="TIME",
            type=since,
            help="show lines since a time (2026-11-23T10:00:00) or a duration (15m)",
        ),
    )


def node(what: str) -> Option:
    """`--node`, which may be repeated."""
    text = f"{what}: a Docker context, user@host or ssh://user@host (may be repeated)"
    return option("--node", metavar="NODE", action="append", default=[], help=text)


JSON = flag("--json", "print one JSON document")
QUIET = option("-q", "--quiet", action="store_true", help="report no progress, only warnings and the result")
YES = flag("--yes", "do not prompt for confirmation")


class Entry:
    """A command or an action: its help, options and function, or the actions among which an argument chooses."""

    def __init__(self, help_text: str | None, run: Run | None = None, options: tuple[Option, ...] = ()) -> None:
        self.help_text = inspect.cleandoc(help_text or "")
        self._run = run
        self._options = options
        self._actions: dict[str, Entry] = {}

    def action(self, name: str, summary: str, *options: Option) -> Callable[[Run], Run]:
        """The decorator of the function for the action `name`."""

        def register(run: Run) -> Run:
            self._actions[name] = Entry(summary, run, options)
            return run

        return register

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add options and actions to `parser`."""
        for add in self._options:
            add(parser)
        if self._actions:
            actions = parser.add_subparsers(dest="action", required=True, metavar="|".join(self._actions))
            for name, entry in self._actions.items():
                text = entry.help_text
                says = f"{text[0].upper()}{text[1:]}."
                below = actions.add_parser(name, help=text, description=says, epilog=EPILOG, allow_abbrev=False)
                entry.configure(below)

    def run(self, args: Namespace, context: Context) -> int:
        """Returns the exit status."""
        if self._run is None:
            return self._actions[args.action].run(args, context)
        return self._run(args, context) or 0


group = Entry


def command(*options: Option, help_text: str | None = None) -> Callable[[Run], Entry]:
    """The decorator of a command's function; `help_text` is in place of its docstring."""
    return lambda run: Entry(help_text or run.__doc__, run, options)


class Parser(argparse.ArgumentParser):
    """argparse, with its errors as UsageError, and the arguments themselves as `command_line`."""

    def parse_args(self, args: Sequence[str], namespace: None = None) -> Namespace:  # type: ignore[override]
        """The options in `args`."""
        parsed, surplus = self.parse_known_args(args, namespace)
        if surplus:
            called = subcommands(self).get(getattr(parsed, "action", ""), self)
            word = next((word.partition("=")[0] for word in surplus if word.startswith("-")), "")
            meant = suggestion(word, (*called._option_string_actions, "--lab", DIRECTORY_OPTION)) if word else ""
            called.error(f"unrecognized arguments: {' '.join(surplus)}{meant}")
        parsed.command_line = list(args)
        return parsed

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} ({self.prog} --help)")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            known = list(action.choices)
            meant = suggestion(value, known) if isinstance(value, str) else ""
            raise argparse.ArgumentError(action, f"{value!r} is not one of {', '.join(map(str, known))}{meant}")


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of a command's actions, by name."""
    for each in parser._actions:
        if isinstance(each, argparse._SubParsersAction):
            return dict(each.choices)
    return {}


def command_parser(called: Command) -> argparse.ArgumentParser:
    """The parser of the command's own options."""
    entry = _entry(called)
    parser = Parser(prog=f"{PROGRAM} {called.name}", description=entry.help_text, epilog=EPILOG, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    entry.configure(parser)
    return parser


def run_command(called: Command, args: Namespace, context: Context) -> int:
    """Run the command with the options that `command_parser` parsed; returns the exit status.

    One that changes the cluster is recorded there.
    """
    context.console.yes = getattr(args, "yes", False)
    context.console.quiet = getattr(args, "quiet", False)
    entry = _entry(called)
    if not called.changes_cluster(args):
        return entry.run(args, context)
    from openbalena.operations.audit import run_recorded

    return run_recorded(
        [called.name, *args.command_line], context.workspace, context.console, lambda: entry.run(args, context)
    )


def _entry(called: Command) -> Entry:
    module = importlib.import_module(f"openbalena.cli.{called.module}")
    entry: Entry = getattr(module, called.name.replace("-", "_"))
    return entry
