"""completion: what can be typed after each command, read from the parsers, as a script for a shell."""

import argparse
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from openbalena.base.project import Project
from openbalena.cli import completion_scripts
from openbalena.cli.commands import COMMANDS, DIRECTORY_OPTION
from openbalena.cli.completion_scripts import DIRECTORIES, FILES, Call, Choice
from openbalena.cli.console import Context
from openbalena.cli.help import OPTIONS, summary_of
from openbalena.cli.options import command, command_parser, option, subcommands

SHELLS = {"bash": completion_scripts.bash, "zsh": completion_scripts.zsh, "fish": completion_scripts.fish}
_HELP = """\
Print a script by which a shell completes commands, subcommands, options and their values.

bash  source <(./open-balena.sh completion bash)   in ~/.bashrc
zsh   source <(./open-balena.sh completion zsh)    in ~/.zshrc, after compinit
fish  ./open-balena.sh completion fish | source    in ~/.config/fish/config.fish

It completes open-balena.sh, called with or without its path.
"""


@dataclass(frozen=True)
class _Known:
    """Values that an option or argument can have, by the name that it has in the help."""

    by_metavar: Mapping[str, Sequence[str]]

    def of(self, words: str, action: argparse.Action) -> tuple[str, ...]:
        """The values of `action` of the command `words`; none if they are not known."""
        if action.choices is not None:
            return tuple(map(str, action.choices))
        name = str(action.metavar)
        return tuple(self.by_metavar.get(f"{words} {name}", self.by_metavar.get(name, ())))


@command(option("shell", choices=tuple(SHELLS), metavar="bash|zsh|fish", help="the shell"), help_text=_HELP)
def completion(args: Namespace, context: Context) -> None:
    """Print the script."""
    context.console.say(SHELLS[args.shell](calls(context.project)).rstrip())


def calls(project: Project) -> list[Call]:
    """Everything that can be called: no command at first, then each command, each followed by its subcommands."""
    known = _Known(_values(project))
    commands = [Choice(name, each.summary) for each in COMMANDS for name in (each.name, *each.aliases)]
    found = [Call((), (*commands, Choice("help", "show the help of a command")), tuple(_global_options(OPTIONS)))]
    found.append(Call(("help",), tuple(commands), (Choice("--all", "show subcommands too"),)))
    for each in COMMANDS:
        parser = command_parser(each)
        below = subcommands(parser)
        for name in (each.name, *each.aliases):
            found.append(_call((name,), parser, known))
            found += [_call((name, action), its, known) for action, its in below.items()]
            found.append(Call(("help", name), tuple(Choice(action, "") for action in below), ()))
    return found


def _values(project: Project) -> dict[str, Sequence[str]]:
    from openbalena.compose.yaml_nodes import parse
    from openbalena.settings.variables import variables

    file = project.compose_files(lab=False)[0]
    services = sorted(parse(file.read_text(encoding="utf-8"), str(file))[0]["services"])
    tokens = [name for name, variable in variables().items() if variable.token]
    return {
        "DIR": (DIRECTORIES,),
        **dict.fromkeys(("FILE", "FILE.tar.gz", "PROGRAM", "PROJECT"), (FILES,)),
        "SERVICE": services,
        "secrets rotate NAME": ["CA", *tokens],
        "config NAME": [name for name, variable in variables().items() if not variable.token],
    }


def _call(words: tuple[str, ...], parser: argparse.ArgumentParser, known: _Known) -> Call:
    named = " ".join(words)
    arguments: list[Choice] = []
    options: list[Choice] = []
    for each in parser._actions:
        text = parser._get_formatter()._expand_help(each) if each.help else ""
        if isinstance(each, argparse._SubParsersAction):
            arguments += [Choice(name, summary_of(its)) for name, its in each.choices.items()]
        elif each.option_strings:
            values = None if each.nargs == 0 else known.of(named, each)
            options += [Choice(name, text, values) for name in each.option_strings]
        else:
            arguments += [Choice(value, "") for value in known.of(named, each)]
    return Call(words, tuple(arguments), (*options, *_global_options(OPTIONS[:2])))


def _global_options(options: Sequence[tuple[str, str]]) -> Iterator[Choice]:
    for names, text in options:
        for name in names.removesuffix(" DIR").split(", "):
            yield Choice(name, text, (DIRECTORIES,) if name == DIRECTORY_OPTION else None)
