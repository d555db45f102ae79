"""The JSON schema of Compose files with `x-swarm`, for editors: docs/x-swarm.schema.json."""

from typing import Any

from openbalena.stack.explain import all_keys

_COMPOSE = "https://raw.githubusercontent.com/compose-spec/compose-spec/main/schema/compose-spec.json"
# Of version 2 files: Compose still reads it, but its schema does not have it.
_OLD = {"volume_driver"}
_REASON = {"type": "string", "pattern": r"\S", "description": "The reason, which is required."}


def x_swarm_schema() -> dict[str, Any]:
    """A schema (draft 7) that adds `x-swarm` to that of the Compose Specification, to which it refers."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A Compose file with x-swarm",
        "allOf": [{"$ref": _COMPOSE}],
        "properties": {
            "x-swarm": {
                "allOf": [{"$ref": _COMPOSE}],
                "description": "Merged over the whole project when it is compiled for Swarm.",
            },
            "services": {"additionalProperties": {"properties": {"x-swarm": {"$ref": "#/definitions/service"}}}},
        },
        "definitions": {"service": _service()},
    }


def _service() -> dict[str, Any]:
    written = {key: {"$ref": f"{_COMPOSE}#/definitions/service/properties/{key}"} for key in all_keys()}
    return {
        "type": "object",
        "description": "Merged over the service when it is compiled for Swarm.",
        "properties": {
            "stateful": {
                "description": "Volumes with data: the service runs on the node that has them, as one task.",
                "oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "uniqueItems": True}],
            },
            "secret_env": {
                "description": "Variables that become lines NAME=value of one secret file, mode 0400.",
                "type": "object",
                "properties": {"target": {"type": "string"}, "keys": {"type": "array", "items": {"type": "string"}}},
                "required": ["target", "keys"],
                "additionalProperties": False,
            },
            "without": {
                "description": "Keys, or items of them, that are left out, each with the reason.",
                "type": "object",
                "propertyNames": {"enum": list(written)},
                "additionalProperties": {"oneOf": [_REASON, {"type": "object", "additionalProperties": _REASON}]},
            },
            **{key: reference for key, reference in written.items() if key not in _OLD},
        },
        "patternProperties": {"^x-": {}},
        "additionalProperties": False,
    }
