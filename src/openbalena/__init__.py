"""openBalena on one machine with Docker Compose, or on many with Docker Swarm."""

__version__ = "0.1.0"
