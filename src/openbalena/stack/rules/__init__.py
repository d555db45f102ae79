"""The rules, in the order in which they run: what exists is kept first, then what others turn into it."""

from openbalena.stack.rules import deploy, impossible, irrelevant, kept, mounts, network

__all__ = ["deploy", "impossible", "irrelevant", "kept", "mounts", "network"]
