"""Images: which ones are built, their content tags, building them, and distributing them to the nodes."""

from openbalena.images.plan import LAB_PREFIX, Build, names_registry, plan, tagged

__all__ = ["LAB_PREFIX", "Build", "names_registry", "plan", "tagged"]
