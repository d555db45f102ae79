"""Where the commands print: results on stdout, everything else on stderr."""

import json
import sys
from typing import Protocol


class Output(Protocol):
    """What a command prints to."""

    def say(self, *lines: str) -> None:
        """Lines of the result."""

    def progress(self, *lines: str) -> None:
        """What was done."""

    def remark(self, *lines: str) -> None:
        """What was found besides the result."""

    def warn(self, *texts: str) -> None:
        """What the user should know or change, although the command continues."""

    def json(self, value: object) -> None:
        """The result for programs."""


class Terminal:
    """This process's standard streams."""

    def say(self, *lines: str) -> None:
        """See Output."""
        for line in lines:
            print(line)

    def progress(self, *lines: str) -> None:
        """See Output."""
        for line in lines:
            print(line, file=sys.stderr)

    def remark(self, *lines: str) -> None:
        """See Output."""
        self.progress(*lines)

    def warn(self, *texts: str) -> None:
        """See Output."""
        self.progress(*(f"warning: {text}" for text in texts))

    def json(self, value: object) -> None:
        """See Output."""
        self.say(json.dumps(value, indent=2, ensure_ascii=False))
