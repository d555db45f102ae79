"""What a command leaves behind that was interrupted by Ctrl-C."""

from argparse import Namespace

from openbalena.cli.commands import Command

_RERUN = "run the same command again to complete it"
# Of those that leave something else, or can be reverted too.
LEFT = {
    "backup create": "there is no new backup yet: run the same command again, which uses what was saved already",
    "migrate": f"{_RERUN}; migrate --undo returns to the old deployment",
    "storage move": f"{_RERUN}; storage show says which node has the data",
    "swarm-build": "the images that were built are kept: run the same command again for the others",
    "swarm-drain": "the node may be drained already: swarm-activate lets it run tasks again, and the same command "
    "waits for it again",
    "swarm-remove": "the node may be drained already: run the same command again to complete it, or swarm-activate to "
    "keep it",
}


def left_behind(command: Command, args: Namespace) -> str:
    """What is half done, and what to do."""
    words = f"{command.name} {getattr(args, 'action', '')}".strip()
    return f"interrupted: {LEFT.get(words, _RERUN)}"
