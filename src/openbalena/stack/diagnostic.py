"""Messages of the compiler and the validator about a place in a file."""

from dataclasses import dataclass
from enum import StrEnum

from openbalena.compose.tree import Position


class Severity(StrEnum):
    """An error stops the compiler; a warning reports a loss; a note reports a change."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


# Notes about what the user must do before the stack works, rather than what was changed.
_PROMINENT = ("build", "configs.file", "secrets.file", "volumes.bind", "volumes.local")


@dataclass(frozen=True)
class Diagnostic:
    """`rule` is the Compose key; `meaning` is what Swarm does with it, `instead` what to write instead."""

    position: Position
    rule: str
    severity: Severity
    meaning: str
    instead: str = ""

    @property
    def prominent(self) -> bool:
        """Whether the finding must not be hidden among others, which may be many."""
        return self.severity is not Severity.NOTE or self.rule in _PROMINENT

    def __str__(self) -> str:
        return f"{self.position}: {self.rule}: {self.meaning}{'; ' + self.instead if self.instead else ''}"
