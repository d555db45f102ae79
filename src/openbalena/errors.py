"""What a command may fail with; the command line prints the message alone, never a traceback."""


class OpenBalenaError(Exception):
    """Base of every failure that is told to the user; `exit_code` is the process's exit status."""

    exit_code = 1


class UsageError(OpenBalenaError):
    """Wrong use or wrong configuration: names the file and line or the variable, what was expected, what to do."""

    exit_code = 2


class OperationError(OpenBalenaError):
    """An operation that was asked for correctly and failed: names what failed, where, and what to do."""
