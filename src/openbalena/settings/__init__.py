"""A deployment's settings: `.env` and the process environment, validated against variables.yml."""

from openbalena.settings.values import Settings, configured, current, load, put_aside, require_intact

__all__ = ["Settings", "configured", "current", "load", "put_aside", "require_intact"]
