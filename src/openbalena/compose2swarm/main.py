"""The program `compose2swarm`: the commands of the translator without the rest of openBalena."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from openbalena import __version__
from openbalena.base.errors import OpenBalenaError, UsageError
from openbalena.compose2swarm import explain, render, validate
from openbalena.compose2swarm.terminal import Terminal

PROGRAM = "compose2swarm"
ACTIONS: dict[str, ModuleType] = {"render": render, "validate": validate, "explain": explain}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} ({self.prog} --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` (default: the process's arguments) names; returns the exit status."""
    try:
        args = _parser().parse_args(argv)
        run: Callable[..., int] = ACTIONS[args.action].run
        status = run(args, Terminal())
        sys.stdout.flush()
        return status
    except OpenBalenaError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (head, less) has exited; Python would report that again when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=PROGRAM, description="Compose files on Docker Swarm.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    actions = parser.add_subparsers(dest="action", required=True, metavar="|".join(ACTIONS))
    for name, action in ACTIONS.items():
        below = actions.add_parser(name, help=action.SUMMARY, description=f"{action.SUMMARY}.", allow_abbrev=False)
        action.configure(below)
        if name != "explain":
            text = "the project's directory (default: that of its first file)"
            below.add_argument("--project-directory", type=Path, metavar="DIR", help=text)
    return parser


if __name__ == "__main__":
    sys.exit(main())
