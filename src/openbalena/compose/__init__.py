"""Reading Compose files: YAML with positions, interpolation, merge, extends, include, profiles, normal form."""

from openbalena.compose.load import load
from openbalena.compose.locate import Located, Request, locate
from openbalena.compose.project import Project
from openbalena.compose.tree import Map, Position, Seq, plain

__all__ = [
    "Located",
    "Map",
    "Position",
    "Project",
    "Request",
    "Seq",
    "load",
    "locate",
    "plain",
]
