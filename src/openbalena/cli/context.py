"""What every command gets in addition to its own arguments."""

from dataclasses import dataclass, field

from openbalena.base.project import Project
from openbalena.cli.console import Console
from openbalena.operations.workspace import Workspace


@dataclass(frozen=True)
class Context:
    """`lab` says that the cluster is the local one (`--lab`, or OPEN_BALENA_LAB=1)."""

    project: Project = field(default_factory=Project)
    lab: bool = False
    console: Console = field(default_factory=Console)

    @property
    def workspace(self) -> Workspace:
        """What an operation works on."""
        return Workspace(self.project, self.lab)
