"""The errors of commands; the command line prints only their message, never a traceback."""


class OpenBalenaError(Exception):
    """Base of every error that is reported to the user; `exit_code` is the process's exit status."""

    exit_code = 1


class UsageError(OpenBalenaError):
    """Invalid usage or configuration: names the file and line or the variable, what was expected, what to do.

    `where` is the place in a file (path, line, column; both count from 1) if there is one. `str()` puts it before
    `message`, as `path:line:column: message`.
    """

    exit_code = 2

    def __init__(self, message: str, *, where: tuple[str, int, int] | None = None) -> None:
        super().__init__(message if where is None else f"{':'.join(map(str, where))}: {message}")
        self.message = message
        self.where = where


class OperationError(OpenBalenaError):
    """A valid operation that failed. The message names what failed, where, and what to do."""
