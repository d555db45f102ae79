"""Every command of the table: each of its actions, and each alias, with the parser that it makes."""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

from openbalena.cli.commands import COMMANDS
from openbalena.cli.options import command_parser, subcommands


@dataclass(frozen=True)
class Leaf:
    """A command as it is typed, with its action where it has actions."""

    words: tuple[str, ...]
    parser: argparse.ArgumentParser

    @property
    def positionals(self) -> list[argparse.Action]:
        return [action for action in self.parser._actions if not action.option_strings]

    @property
    def has_json(self) -> bool:
        return "--json" in self.parser._option_string_actions

    def __str__(self) -> str:
        return " ".join(self.words)


def _leaves() -> Iterator[Leaf]:
    for command in COMMANDS:
        for name in (command.name, *command.aliases):
            parser = command_parser(command)
            if actions := subcommands(parser):
                yield from (Leaf((name, action), below) for action, below in actions.items())
            else:
                yield Leaf((name,), parser)


LEAVES = list(_leaves())
# What an action needs to be called at all.
WORDS = {
    "completion": ["bash"],
    "stack explain": ["devices"],
    "storage move": ["db-data", "node2"],
    "storage forget": ["db-data"],
    "swarm-scale": ["api=2"],
    "swarm-join": ["root@node4"],
    "swarm-drain": ["node1"],
    "swarm-activate": ["node1"],
    "swarm-remove": ["node1"],
    "secrets rotate": ["COOKIE_SESSION_SECRET"],
    "lab shell": ["node1"],
    "lab kill": ["node1"],
    "lab start": ["node1"],
    "lab partition": ["node1"],
    "lab remove": ["node1"],
    "lab slow": ["node1"],
}
