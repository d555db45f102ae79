"""How an operation reports what it does and asks for agreement, without knowing who listens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from openbalena.machine.containers import ComposeService
    from openbalena.swarm.convergence import Progress


class Reporter(Protocol):
    """Progress, warnings and questions of an operation; its results are what it returns."""

    def progress(self, text: str, /) -> None:
        """Report what is happening now, or what is being waited for."""

    def warn(self, text: str, /) -> None:
        """Report what the user should know or change, although the operation continues."""

    def confirm(self, question: str, /) -> bool:
        """Return whether the user agrees. Raises UsageError without a terminal, unless `--yes` was given."""

    def interruptible(self, message: str, /) -> AbstractContextManager[None]:
        """A wait that the user may leave with Ctrl-C; `message` then says what continues and how to come back."""

    def follow_tasks(self) -> Callable[[list[Progress]], None]:
        """A new display of a cluster's services: call it with each reading."""

    def follow_containers(self) -> Callable[[Sequence[ComposeService]], None]:
        """A new display of one machine's services: call it with each reading."""
