"""Which services use a secret variable."""

from typing import Any

from openbalena.base import placeholder
from openbalena.stack.compiler import Compiled


def secret_users(compiled: Compiled, variable: str) -> list[str]:
    """The services that get the value of the secret `variable`, in a file or in their environment; sorted."""
    services = {
        service
        for content in compiled.content_files
        if variable in placeholder.placeholders_in(content.text or "")
        for service in content.services
    }
    services |= {name for name, service in compiled.document["services"].items() if variable in _names(service)}
    return sorted(services)


def _names(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set().union(*map(_names, value.values()))
    if isinstance(value, list | tuple):
        return set().union(*map(_names, value))
    return placeholder.placeholders_in(value) if isinstance(value, str) else set()
