"""The list of commands by group, and the nearest name to a mistyped one."""

import difflib
from typing import TYPE_CHECKING

from openbalena.cli.commands import BY_NAME, COMMANDS, GROUPS, PROGRAM, Command
from openbalena.cli.console import columns
from openbalena.cli.suggestions import is_misspelt

if TYPE_CHECKING:
    from argparse import ArgumentParser

OPTIONS = (
    ("--lab", "act on the local cluster (or OPEN_BALENA_LAB=1)"),
    ("--project-directory DIR", "where .env, pki and overrides are (default: the checkout)"),
    ("-h, --help", "show this list, or the help of a command"),
    ("--version", "print the version of this program"),
)
_REMOVING = ("destroy", "clean", "down", "swarm-down")
_CHANGING = (*_REMOVING, "up", "deploy", "swarm-up", "update", "stop", "restart", "restore", "upgrade")
_LOOK = "status shows one machine's services, swarm-status a cluster's"
_DOWN = "docs/docker-compose.md and docs/docker-swarm-deployment.md describe how to remove a deployment"
# Commands of other tools, and what to use here.
INSTEAD = {
    **dict.fromkeys(("ps", "ls", "list", "top", "info"), _LOOK),
    **dict.fromkeys(("uninstall", "remove", "rm", "delete", "purge"), f"there is none: {_DOWN}"),
    "dump": "there is none: backup saves everything; docs/backup.md, Check a backup",
    "self-update": "update the checkout, then run update on one machine, swarm-build and swarm-up in a cluster",
    **dict.fromkeys(("-V", "-v"), f"{PROGRAM} --version prints the version, version also those of Python and Docker"),
    **dict.fromkeys(("completions", "autocomplete"), "completion prints a script for bash, zsh or fish"),
    **dict.fromkeys(
        ("exec", "sh", "shell", "attach"), "there is none: use `docker exec` on the machine that has the container"
    ),
    **dict.fromkeys(("install", "init", "setup"), "config writes the settings, swarm-init creates a cluster"),
    **dict.fromkeys(("env", "settings"), "showenv prints the settings, config changes them"),
    **dict.fromkeys(("password", "passwd"), "showpass prints the superuser's password"),
    "build": "up builds on one machine, swarm-build for a cluster",
    "start": "up starts the services on one machine, swarm-up in a cluster",
    "pull": "update pulls newer images on one machine; the nodes of a cluster pull automatically",
    "scale": "there is none: docs/docker-swarm-deployment.md, Scale",
    "rollback": "there is none: Swarm rolls back a failed update automatically",
}


def overview(*, everything: bool = False) -> str:
    """Every command, by group; with `everything` also their subcommands and other names."""
    rows: dict[str, list[tuple[str, str]]] = {group: [] for group in GROUPS}
    for command in COMMANDS:
        rows[command.group] += _with_subcommands(command) if everything else [(command.name, command.summary)]
    width = max(len(left) for group in (*rows.values(), OPTIONS) for left, _ in group)
    sections = [f"usage: {PROGRAM} [options] COMMAND [arguments]"]
    for title, group in [(GROUPS[name], rows[name]) for name in GROUPS] + [("Options", list(OPTIONS))]:
        sections.append("\n".join([f"{title}:", *columns((f"  {left.ljust(width)}", right) for left, right in group)]))
    more = "" if everything else f"; subcommands too: {PROGRAM} help --all"
    return "\n\n".join([*sections, f"For more about a command: {PROGRAM} help COMMAND{more}"])


def _with_subcommands(command: Command) -> list[tuple[str, str]]:
    from openbalena.cli.options import command_parser, subcommands

    below = subcommands(command_parser(command))
    own = [(name, command.summary) for name in (command.name, *command.aliases)]
    return [*own, *((f"{command.name} {name}", summary_of(parser)) for name, parser in below.items())]


def summary_of(parser: "ArgumentParser") -> str:
    """What a subcommand does, as the help of its command says it."""
    text = (parser.description or "").removesuffix(".")
    return f"{text[:1].lower()}{text[1:]}"


def unknown(name: str) -> str:
    """The message for a name that is not a command.

    A command that starts or removes something is suggested only for a misspelling of it: any other word was meant for
    something else.
    """
    if instead := INSTEAD.get(name):
        return f"{name!r} is not a command: {instead}"
    fitting = [known for known in BY_NAME if known not in _CHANGING or is_misspelt(name, known)]
    near = difflib.get_close_matches(name, fitting, n=1, cutoff=0.5)
    if not near:
        return f"{name!r} is not a command: {PROGRAM} help lists the commands"
    does = f" ({BY_NAME[near[0]].summary})" if near[0] in _REMOVING else ""
    return f"{name!r} is not a command: did you mean {near[0]!r}?{does}"
