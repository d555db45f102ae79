"""The log of a command that changes something: its messages with their time, in a file that only the owner can read."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from openbalena.base.errors import UsageError
from openbalena.base.project import Project

# Files kept for one project directory: the log of a failed deploy is needed while people look into it.
KEPT = 50
# ECMA-48 control sequences, which the display of a deploy uses at a terminal.
_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class RunLog:
    """Written from the first message on; a run that says nothing, or only that it was called wrongly, leaves no file.

    Secrets of the settings are masked. A directory that cannot be written never makes the command fail.
    """

    def __init__(self, project: Project, command: str) -> None:
        self._project = project
        self._command = command
        self._mask: Callable[[str], str] = str
        self._mask_of: object = None
        self._file: int | None = None
        self.path: Path | None = None

    def write(self, text: str) -> None:
        """Append `text`, every line with the time (UTC)."""
        if self._file is None and self.path is None:
            with suppress(OSError):
                self._open()
        if self._file is None:
            return
        now = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
        lines = [f"{now} {line}\n" for line in _CONTROL.sub("", self._masked(text)).splitlines() if line.strip()]
        with suppress(OSError):
            os.write(self._file, "".join(lines).encode("utf-8", "backslashreplace"))

    def write_traceback(self, error: BaseException) -> None:
        """Append where `error` came from, which the user is not shown."""
        import traceback

        self.write("".join(traceback.format_exception(error)))

    def _open(self) -> None:
        directory = self._project.logs
        directory.mkdir(mode=0o700, exist_ok=True)
        for old in sorted(directory.glob("*.log"))[: -KEPT + 1]:
            old.unlink(missing_ok=True)
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        path = directory / f"{stamp}-{self._command}-{os.getpid()}.log"
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        self.path = path

    def _masked(self, text: str) -> str:
        """The settings are read again when `.env` changes: the command itself may write new secrets into it."""
        from openbalena import settings

        with suppress(OSError):
            status = self._project.env_file.stat()
            written = (status.st_ino, status.st_mtime_ns, status.st_size)
            if written != self._mask_of:
                self._mask_of = written
                with suppress(UsageError):  # the command itself reports what is wrong with the file
                    self._mask = settings.read_unchecked(self._project).masked
        return self._mask(text)
