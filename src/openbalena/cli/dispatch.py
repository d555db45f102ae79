"""From a command's name and arguments to its module: parsing its options, and running it."""

import argparse
import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any, NoReturn

from openbalena.base.errors import UsageError
from openbalena.cli.commands import Command
from openbalena.cli.context import Context
from openbalena.cli.help import PROGRAM

DIRECTORY_OPTION = "--project-directory"
EPILOG = f"--lab and {DIRECTORY_OPTION} DIR are valid for every command: {PROGRAM} help"


class _Actions(argparse._SubParsersAction):  # type: ignore[type-arg]
    def add_parser(self, name: str, **options: Any) -> Any:
        text = options["help"]
        return super().add_parser(name, description=f"{text[0].upper()}{text[1:]}.", epilog=EPILOG, **options)


class Parser(argparse.ArgumentParser):
    """argparse, with its errors as UsageError, and each action's line of help as the description in its own help."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.register("action", "parsers", _Actions)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} ({self.prog} --help)")


def command_parser(command: Command) -> argparse.ArgumentParser:
    """The parser of the command's own options."""
    module = _load_module(command)
    parser = Parser(prog=f"{PROGRAM} {command.name}", description=module.__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    _entry_point(module, "configure", command)(parser)
    return parser


def run_command(command: Command, args: argparse.Namespace, context: Context) -> int:
    """Run the command with the options that `command_parser` parsed; returns the exit status."""
    return int(_entry_point(_load_module(command), "run", command)(args, context))


def _load_module(command: Command) -> ModuleType:
    return importlib.import_module(f"openbalena.cli.{command.module}")


def _entry_point(module: ModuleType, kind: str, command: Command) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(module, f"{kind}_{command.entry}" if command.entry else kind)
    return function
