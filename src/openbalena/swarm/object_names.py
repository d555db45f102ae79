"""Versioned names of secrets and configs: new content gets a new name, so that Swarm updates the services that use it.

A rendered stack has `name: ${API_ENV_SECRET:-openbalena_api-env}` and `file: ./secrets/api.env`; here the variable
gets its value, `<STACK>_<key>-<first 12 hex digits of the file's SHA-256>`. The name of a template driver is hashed
too, since only the labels of an object can be changed (swarmkit, manager/controlapi/secret.go, UpdateSecret).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from openbalena.base.errors import OperationError
from openbalena.base.limits import MAXIMUM_BYTES
from openbalena.base.names import object_key, object_name
from openbalena.swarm.state import SwarmService

_VARIABLE = re.compile(r"^\$\{([A-Za-z_][A-Za-z0-9_]*)(?::?[-?].*)?\}$")


def versioned_name(document: Mapping[str, Any], directory: Path, stack: str) -> dict[str, str]:
    """The names, by variable, of every secret and config of the stack `document` rendered in `directory`.

    Raises OperationError for a file that is missing, empty or larger than the Engine allows.
    """
    versions = {}
    for kind, limit in MAXIMUM_BYTES.items():
        for key, body in sorted((document.get(kind) or {}).items()):
            match = _VARIABLE.match(str(body.get("name", "")))
            if match is None or "file" not in body:
                continue
            path = directory / body["file"]
            try:
                content = path.read_bytes()
            except OSError as error:
                raise OperationError(f"{path}: {error.strerror}: expected the content of {kind[:-1]} {key}") from None
            if not 0 < len(content) <= limit:
                raise OperationError(
                    f"{path}: {len(content)} bytes; {kind[:-1]} {key} must have 1 to {limit} (a limit of Docker Swarm)"
                )
            versions[match[1]] = object_name(stack, key, content, body.get("template_driver", ""))
    return versions


def used_version(service: SwarmService, key: str) -> str:
    """The name of the version of the secret or config `key` that `service` uses; empty if it uses none."""
    return next((name for name in (*service.secrets, *service.configs) if object_key(name, service.stack) == key), "")


def unused_objects(existing: Mapping[str, str], stack: str, used: set[str]) -> Iterator[str]:
    """The ids of versions among `existing` (id to name) that belong to this stack and are used by no service."""
    for identifier, name in existing.items():
        if object_key(name, stack) and name not in used:
            yield identifier
