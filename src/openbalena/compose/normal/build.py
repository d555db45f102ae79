"""`build` in normal form (Compose Build Specification)."""

from typing import Any

from openbalena.compose.normal.references import content_references
from openbalena.compose.normal.scalars import (
    Normalise,
    boolean,
    each,
    fields,
    key_values,
    labels,
    one_or_many,
    string,
    text,
    untouched,
)
from openbalena.compose.tree import Map, Position

_KEYS: dict[str, Normalise] = {
    "additional_contexts": labels, "args": key_values, "cache_from": each(text), "cache_to": each(text),
    "context": text, "dockerfile": text, "dockerfile_inline": text, "entitlements": each(text),
    "extra_hosts": untouched, "isolation": text, "labels": labels, "network": text, "no_cache": boolean,
    "no_cache_filter": one_or_many, "platforms": each(text), "privileged": boolean, "provenance": untouched,
    "pull": boolean, "sbom": untouched, "secrets": content_references, "shm_size": untouched, "ssh": untouched,
    "tags": each(text), "target": text, "ulimits": untouched,
}  # fmt: skip


def build(value: Any, position: Position) -> Map:
    """A context alone becomes `context:`; the Dockerfile is `Dockerfile` unless another one or its content is given."""
    written = (
        value if isinstance(value, Map) or value is None else Map([("context", string(value, position))], position)
    )
    described = fields(_KEYS, "build")(written, position)
    described.setdefault("context", ".")
    if "dockerfile_inline" not in described:
        described.setdefault("dockerfile", "Dockerfile")
    return described
