"""An operation's Reporter on the user's terminal, pipe or log file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openbalena.cli.context import Context

if TYPE_CHECKING:
    from openbalena.machine.containers import ComposeService
    from openbalena.swarm.convergence import Progress


@dataclass(frozen=True)
class ConsoleReporter:
    """Implements operations.reporter.Reporter; `yes` is the option --yes, which agrees beforehand."""

    context: Context
    yes: bool = False

    def progress(self, text: str) -> None:
        """A line on stderr."""
        self.context.console.progress(text)

    def warn(self, text: str) -> None:
        """A warning on stderr."""
        self.context.console.warn(text)

    def confirm(self, question: str) -> bool:
        """Whether the user agrees, now or by --yes."""
        return self.context.console.confirm(question, yes=self.yes)

    def interruptible(self, message: str) -> AbstractContextManager[None]:
        """See Console.waiting."""
        return self.context.console.waiting(message)

    def follow_tasks(self) -> Callable[[list[Progress]], None]:
        """One line per service, rewritten at a terminal."""
        from openbalena.cli import swarm_progress

        return swarm_progress.TaskDisplay(self.context)

    def follow_containers(self) -> Callable[[Sequence[ComposeService]], None]:
        """One line per change."""
        from openbalena.cli import compose_progress

        return compose_progress.ContainerDisplay(self.context)
