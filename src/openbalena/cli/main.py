"""The entry point: global options, the command's name, and a message and an exit code for each failure."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from openbalena import __version__
from openbalena.base import placeholder
from openbalena.base.errors import OpenBalenaError, UsageError
from openbalena.base.project import Project
from openbalena.base.unexpected import explain
from openbalena.cli.commands import BY_NAME, DIRECTORY_OPTION, Command
from openbalena.cli.console import Console, Context
from openbalena.cli.help import overview, unknown
from openbalena.operations import file_modes
from openbalena.operations.hints import as_typed
from openbalena.operations.run_log import RunLog

# 128 + signal, as shells report it.
INTERRUPTED = 130
BROKEN_PIPE = 141


@dataclass
class GlobalOptions:
    """The values of `--lab` and `--project-directory`, which are valid before and after the command's name."""

    lab: bool = field(default_factory=lambda: os.environ.get("OPEN_BALENA_LAB") == "1")
    directory: Path | None = None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` (default: the process's arguments) names; returns the exit status."""
    try:
        status = _run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return status
    except OpenBalenaError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has exited.
        _give_up_stdout()
        return BROKEN_PIPE
    except Exception as error:
        if os.environ.get("OPEN_BALENA_DEBUG") == "1":
            raise
        print(f"error: {explain(error)}", file=sys.stderr)
        try:
            sys.stdout.flush()
        except OSError:
            _give_up_stdout()
        return 1


def _give_up_stdout() -> None:
    """Nothing can be written there: Python would report that again when it closes it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(argv: list[str]) -> int:
    options, words = split_global_options(argv)
    name, *rest = words or ["help"]
    if name == "--version":
        print(f"open-balena.sh {__version__}")
        return 0
    if name in ("help", "-h", "--help"):
        if not rest or rest[0].startswith("-"):
            print(overview(everything="--all" in rest))
            return 0
        if len(rest) > 2:
            raise UsageError(f"help {' '.join(rest)}: expected a command, or a command and its subcommand")
        name, rest = rest[0], [*rest[1:], "--help"]
    command = BY_NAME.get(name)
    if command is None:
        raise UsageError(unknown(name))
    return _call(command, rest, options)


def split_global_options(argv: Sequence[str]) -> tuple[GlobalOptions, list[str]]:
    """The options that are valid anywhere before a lone `--`, and the rest of `argv`.

    Raises UsageError if --project-directory has no value.
    """
    options, words, remaining = GlobalOptions(), list[str](), list(argv)
    while remaining:
        word = remaining.pop(0)
        if word == "--":
            return options, [*words, word, *remaining]
        if word == "--lab":
            options.lab = True
        elif word == DIRECTORY_OPTION:
            if not remaining:
                raise UsageError(f"{DIRECTORY_OPTION}: expected a directory")
            options.directory = Path(remaining.pop(0))
        elif word.startswith(f"{DIRECTORY_OPTION}="):
            options.directory = Path(word.partition("=")[2])
        else:
            words.append(word)
    return options, words


def _call(command: Command, rest: Sequence[str], options: GlobalOptions) -> int:
    from openbalena.cli.options import command_parser, run_command  # not for `help`: it imports argparse

    args = command_parser(command).parse_args(rest)
    project = _project(options.directory)

    def worded(text: str) -> str:
        # The compiler quotes definitions, which have placeholders for secrets.
        return as_typed(placeholder.substitute(text, "${{{}}}".format), project, lab=options.lab)

    log = RunLog(project, command.name) if command.is_logged(args) else None
    context = Context(project, options.lab, Console(worded, log.write) if log else Console(worded))
    try:
        context.console.warn(*file_modes.restrict_modes(project))
        return run_command(command, args, context)
    except OpenBalenaError as error:
        if log and log.path is None and isinstance(error, UsageError):
            log, context = None, replace(context, console=Console(worded))  # nothing was begun
        if command.group != "lab":
            _warn_of_settings(context)
        context.console.error(str(error))
        if log and log.path:
            context.console.remark(f"log: {log.path}")
        return error.exit_code
    except KeyboardInterrupt as interrupt:
        # A call that has reported nothing has changed nothing.
        if log and log.path and not interrupt.args:
            from openbalena.cli.interrupted import left_behind

            context.console.remark(f"\n{left_behind(command, args)}")
        raise
    except Exception as error:
        if log:
            log.write_traceback(error)
        raise


def _warn_of_settings(context: Context) -> None:
    """Warn of what the command has not warned of yet: it may be why the command fails."""
    from openbalena.operations.show_settings import settings_warnings

    for sentence in settings_warnings(context.workspace):
        if sentence not in context.console.warned:
            context.console.warn(sentence)


def _project(directory: Path | None) -> Project:
    if directory is None:
        return Project()
    if not directory.is_dir():
        raise UsageError(f"{DIRECTORY_OPTION} {directory}: not a directory: create it first")
    return Project(directory=directory.resolve())
