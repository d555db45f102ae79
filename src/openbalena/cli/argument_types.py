"""Numbers and times on the command line, checked while it is parsed."""

import argparse
import math
import re
from contextlib import suppress
from datetime import datetime
from pathlib import Path

# What docker accepts (moby, api/types/time/timestamp.go): a Go duration, seconds since 1970, a date, or date and time.
_DURATION = re.compile(r"(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+|\d+(\.\d+)?")
# What is waited for: seconds, or hours, minutes and seconds, each with its unit.
_TIME = re.compile(r"(\d+(?:\.\d+)?)|(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?", re.ASCII)
# Of a constraint on it (swarmkit, manager/constraint): letters, digits and these characters.
_LABEL = re.compile(r"[\w.\-/]+", re.ASCII)
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)", re.ASCII)
# Hours between which a day is divided equally.
_INTERVALS = {1, 2, 3, 4, 6, 8, 12}
_DATE = re.compile(r"\d{4}-\d\d-\d\d(T\d\d(:\d\d){0,2}(\.\d+)?)?(Z|[+-]\d\d:\d\d)?")


def seconds(text: str) -> float:
    """A time to wait in seconds, above 0: `90`, `90s`, `10m`, `2h`, `1h30m`.

    Raises argparse.ArgumentTypeError, which results in exit code 2.
    """
    parts = match.groups("0") if (match := _TIME.fullmatch(text)) else ()
    value = sum(float(number) * unit for number, unit in zip(parts, (1, 3600, 60, 1), strict=False))
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"expected a time above 0, such as 90s, 10m or 2h, not {text!r}")
    return value


def time_text(value: float) -> str:
    """`value` (whole seconds) in the largest unit that divides it, as `seconds` reads it: `90s`, `10m`, `2h`."""
    for unit, size in (("h", 3600), ("m", 60)):
        if value % size == 0:
            return f"{value / size:.0f}{unit}"
    return f"{value:.0f}s"


def whole(text: str, what: str = "a number") -> int:
    """A number, 0 or more, in ASCII digits: int() accepts those of every script. Raises as `seconds` does."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"expected {what}, 0 or more, not {text!r}")
    return int(text)


def kibibytes(text: str) -> int:
    """A rate in KiB per second, above 0. Raises as `seconds` does."""
    if not (value := whole(text, "KiB per second")):
        raise argparse.ArgumentTypeError("expected KiB per second, above 0, not 0")
    return value


def percent(text: str) -> int:
    """A share from 1 to 100. Raises as `seconds` does."""
    if not 1 <= (value := whole(text, "a percentage")) <= 100:
        raise argparse.ArgumentTypeError(f"expected a percentage from 1 to 100, not {text!r}")
    return value


def clock_time(text: str) -> tuple[int, int]:
    """A time of day, `03:30`. Raises as `seconds` does."""
    if not (match := _CLOCK.fullmatch(text)):
        raise argparse.ArgumentTypeError(f"expected a time of day such as 03:30, not {text!r}")
    return int(match[1]), int(match[2])


def hours(text: str) -> int:
    """An interval that divides a day, `6h`. Raises as `seconds` does."""
    number = text.removesuffix("h")
    if not (number.isascii() and number.isdigit() and text != number and int(number) in _INTERVALS):
        raise argparse.ArgumentTypeError(f"expected 1h, 2h, 3h, 4h, 6h, 8h or 12h, not {text!r}")
    return int(number)


def metrics_file(text: str) -> str:
    """The absolute path of a file for the textfile collector, which reads *.prom. Raises as `seconds` does."""
    path = Path(text)
    if path.suffix != ".prom" or not path.is_absolute() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(
            f"expected the absolute path of a file *.prom in a directory that exists, not {text!r}"
        )
    return text


def service_number(text: str) -> tuple[str, int]:
    """A service and its number of tasks, `api=3`. Raises as `seconds` does."""
    name, equals, number = text.rpartition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"expected SERVICE=N, such as api=3, not {text!r}")
    return name, whole(number, "a number of tasks")


def node_label(text: str) -> tuple[str, str]:
    """A node label, `NAME=VALUE`, or `NAME` for NAME=true. Raises as `seconds` does."""
    name, equals, value = text.partition("=")
    if not _LABEL.fullmatch(name):
        raise argparse.ArgumentTypeError(f"expected NAME or NAME=VALUE, such as openbalena.ingress=true, not {text!r}")
    return name, value if equals else "true"


# Log lines of each service if --tail is not given.
DEFAULT_LINES = 100


def lines(text: str) -> int:
    """A number of lines, 0 or more. Raises as `seconds` does."""
    return whole(text, "a number of lines")


def since(text: str) -> str:
    """A time or a duration before now, as docker parses it. Raises as `seconds` does."""
    if _DURATION.fullmatch(text):
        return text
    with suppress(ValueError):
        if _DATE.fullmatch(text) and datetime.fromisoformat(text.removesuffix("Z")):
            return text
    raise argparse.ArgumentTypeError(f"expected a time such as 2026-11-23T10:00:00 or 15m, not {text!r}")
