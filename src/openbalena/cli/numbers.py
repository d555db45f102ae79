"""Numbers on the command line, checked while it is read."""

import argparse
import math


def seconds(text: str) -> float:
    """A time to wait in seconds, above 0. Raises argparse.ArgumentTypeError, which ends in exit code 2."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"expected seconds above 0, not {text!r}")
    return value


def lines(text: str) -> int:
    """A number of lines, 0 or more. Raises argparse.ArgumentTypeError, which ends in exit code 2."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"expected a number of lines, 0 or more, not {text!r}")
    return int(text)
