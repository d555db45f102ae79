"""The errors of commands, and problems that are found without being raised: fields, so that no code parses a message.

`what` says what was found, and where; `hint` what to do about it; `key` is what it is about, so that code can tell: the
path of a file, or the name of a setting. The command line prints only `str()`, never a traceback.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """Something that is wrong, to be reported together with others."""

    what: str
    hint: str = ""
    key: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.hint}" if self.hint else self.what


class OpenBalenaError(Exception):
    """Base of every error that is reported to the user; `exit_code` is the process's exit status."""

    exit_code = 1

    def __init__(self, what: str, hint: str = "", *, key: str = "") -> None:
        self.problem = Problem(what, hint, key)
        super().__init__(str(self.problem))


class UsageError(OpenBalenaError):
    """Invalid usage or configuration: names the file and line or the variable, what was expected, what to do.

    `where` is the place in a file (path, line, column; both count from 1) if there is one. `str()` puts it before
    `what`, as `path:line:column: what: hint`.
    """

    exit_code = 2

    def __init__(self, what: str, hint: str = "", *, key: str = "", where: tuple[str, int, int] | None = None) -> None:
        super().__init__(what, hint, key=key)
        self.where = where

    def __str__(self) -> str:
        return str(self.problem) if self.where is None else f"{':'.join(map(str, self.where))}: {self.problem}"


class OperationError(OpenBalenaError):
    """A valid operation that failed. The message names what failed, where, and what to do."""
