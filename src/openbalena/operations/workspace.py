"""What every operation works on."""

from dataclasses import dataclass

from openbalena.base.project import Project


@dataclass(frozen=True)
class Workspace:
    """A project directory; `lab` if its cluster is the local one (`--lab`, or OPEN_BALENA_LAB=1)."""

    project: Project
    lab: bool
