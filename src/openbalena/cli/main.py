"""From the command line to a command's module, and from its failure to a sentence and an exit code."""

import argparse
import errno
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from openbalena import __version__, modes, placeholder
from openbalena.cli.commands import BY_NAME, Command
from openbalena.cli.console import Console
from openbalena.cli.context import Context
from openbalena.cli.help import PROGRAM, overview, unknown
from openbalena.errors import OpenBalenaError, UsageError
from openbalena.invocation import as_typed
from openbalena.project import Project

# 128 + signal, as shells report it.
INTERRUPTED = 130
BROKEN_PIPE = 141
DIRECTORY_OPTION = "--project-directory"
ADVICE = {
    errno.ENOSPC: "free some space, then call again",
    errno.EDQUOT: "free some space, then call again",
    errno.EACCES: "call as the user it belongs to, or with sudo",
    errno.EPERM: "call as the user it belongs to, or with sudo",
    errno.EISDIR: "put a file in its place",
    errno.ENOTDIR: "a file is where a directory was expected: name another",
    errno.ELOOP: "links lead back to themselves: name the file itself",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EIO: "the disk or file server failed: see dmesg, then call again",
    errno.EROFS: "make it writable, or choose another directory with --project-directory",
}
EPILOG = f"--lab and {DIRECTORY_OPTION} DIR go with every command: {PROGRAM} help"


@dataclass
class GlobalOptions:
    """What `--lab` and `--project-directory` said; both may stand before or after the command."""

    lab: bool = field(default_factory=lambda: os.environ.get("OPEN_BALENA_LAB") == "1")
    directory: Path | None = None


class _Actions(argparse._SubParsersAction):  # type: ignore[type-arg]
    def add_parser(self, name: str, **words: Any) -> Any:
        text = words["help"]
        return super().add_parser(name, description=f"{text[0].upper()}{text[1:]}.", epilog=EPILOG, **words)


class Parser(argparse.ArgumentParser):
    """argparse, with its complaints as UsageError and each action's line of help at the head of its own help."""

    def __init__(self, *args: Any, **words: Any) -> None:
        super().__init__(*args, **words)
        self.register("action", "parsers", _Actions)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} ({self.prog} --help)")


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
        # The reader (head, less) has gone.
        _give_up_stdout()
        return BROKEN_PIPE
    except Exception as error:
        if os.environ.get("OPEN_BALENA_DEBUG") == "1":
            raise
        print(f"error: {_explain(error)}", file=sys.stderr)
        try:
            sys.stdout.flush()
        except OSError:
            _give_up_stdout()
        return 1


def _give_up_stdout() -> None:
    """Nothing can be written there: Python would complain once more when it closes it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _explain(error: Exception) -> str:
    """What no command expected: a full disk, another user's file, a damaged environment, or a defect of ours."""
    if isinstance(error, ModuleNotFoundError) and _damaged(str(error.name)):
        # The launcher takes an environment without this file for incomplete.
        Path(sys.prefix, "requirements.lock").unlink(missing_ok=True)
        return f"{sys.prefix} lacks {error.name}: call again, and it is made anew"
    if isinstance(error, OSError) and error.errno in ADVICE:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}: {ADVICE[error.errno]}"
    return (
        f"{type(error).__name__}: {error}\n"
        "This is a defect of openBalena's command line: please report it with the command you typed and what\n"
        "OPEN_BALENA_DEBUG=1 prints in addition."
    )


def _run(argv: list[str]) -> int:
    options, words = split_global_options(argv)
    name, *rest = words or ["help"]
    if name == "--version":
        print(f"open-balena.sh {__version__}")
        return 0
    if name in ("help", "-h", "--help"):
        if not rest or rest[0].startswith("-"):
            print(overview())
            return 0
        if len(rest) > 2:
            raise UsageError(f"help {' '.join(rest)}: expected a command, or a command and its action")
        name, rest = rest[0], [*rest[1:], "--help"]
    command = BY_NAME.get(name)
    if command is None:
        raise UsageError(unknown(name))
    return _call(command, rest, options)


def _damaged(module: str) -> bool:
    """Whether `module` was installed and is gone; a name nobody ever installed is our defect."""
    from importlib import metadata

    installed = metadata.packages_distributions()
    return not installed or module.partition(".")[0] in installed


def split_global_options(argv: Sequence[str]) -> tuple[GlobalOptions, list[str]]:
    """The options that may stand anywhere before a lone `--`, and the rest of `argv`.

    Raises UsageError where --project-directory has no value.
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
                raise UsageError(f"{DIRECTORY_OPTION}: expected a directory after it")
            options.directory = Path(remaining.pop(0))
        elif word.startswith(f"{DIRECTORY_OPTION}="):
            options.directory = Path(word.partition("=")[2])
        else:
            words.append(word)
    return options, words


def _call(command: Command, rest: Sequence[str], options: GlobalOptions) -> int:
    module = importlib.import_module(f"openbalena.cli.{command.module}")
    parser = Parser(prog=f"{PROGRAM} {command.name}", description=module.__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    module.configure(parser)
    args = parser.parse_args(rest)
    args.command = command.name
    project = _project(options.directory)

    def worded(text: str) -> str:
        # The compiler quotes a definition with marks where secrets belong.
        return as_typed(placeholder.fill(text, "${{{}}}".format), project, lab=options.lab)

    context = Context(project, options.lab, Console(worded))
    try:
        for sentence in modes.mend(project):
            context.console.warn(sentence)
        return int(module.run(args, context))
    except OpenBalenaError as error:
        if command.group != "lab":
            _warn_of_settings(context)
        context.console.error(str(error))
        return error.exit_code


def _warn_of_settings(context: Context) -> None:
    """What should be known about the settings and was not said yet: it may be why the command fails."""
    from openbalena import settings

    try:
        found = settings.load(context.project).warnings
    except UsageError:
        try:
            found = settings.current(context.project).warnings
        except UsageError:
            return  # the command itself said what is wrong with the file
    for sentence in found:
        if sentence not in context.console.warned:
            context.console.warn(sentence)


def _project(directory: Path | None) -> Project:
    if directory is None:
        return Project()
    if not directory.is_dir():
        raise UsageError(f"{DIRECTORY_OPTION} {directory}: not a directory: make it first")
    return Project(directory=directory.resolve())
