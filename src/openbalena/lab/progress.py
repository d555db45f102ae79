"""Progress of the lab: one line per step on stderr, so that stdout holds results only."""

import sys


def say(text: str) -> None:
    """Print one line of progress."""
    print(f"lab: {text}", file=sys.stderr, flush=True)
