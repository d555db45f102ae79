"""A deployment's settings: `.env` and the process environment, validated against variables.yml."""

from openbalena.settings.values import (
    Settings,
    pki_directory,
    put_aside,
    read,
    read_configured,
    read_unchecked,
    require_intact,
)

__all__ = ["Settings", "read_configured", "read_unchecked", "pki_directory", "read", "put_aside", "require_intact"]
