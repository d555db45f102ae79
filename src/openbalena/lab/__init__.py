"""The local cluster: real Docker Engines on one Linux machine, each in its own network namespace."""

from openbalena.lab.endpoint import Endpoint, endpoint
from openbalena.lab.state import LabNode

__all__ = ["Endpoint", "LabNode", "endpoint"]
