"""What a deploy would change: compares a stack, as `docker stack config` prints it, with the services that are running.

Values of environment variables are never shown, as they may be secret for images that read secrets only from there.
Nor are volume options: they may contain a CIFS server's password.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from openbalena.stack.running_values import actual_values
from openbalena.stack.service_values import KEEPS_TASKS, Values, desired_values

# Lists whose order does not matter.
_LISTS = ("mounts", "ports", "constraints", "capabilities", "dropped capabilities", "networks", "hosts")
# Their values may be secret.
_HIDDEN = ("environment", "volume options", "log options")


@dataclass(frozen=True)
class Change:
    """A difference of a service: `title` is the property's, `text` what of it changes."""

    title: str
    text: str

    def __str__(self) -> str:
        return f"{self.title}: {self.text}" if self.title else self.text

    @property
    def replaces_tasks(self) -> bool:
        """Whether Swarm replaces the service's tasks because of it."""
        return self.title not in KEEPS_TASKS


def changed_services(
    document: Mapping[str, Any],
    running: Mapping[str, Mapping[str, Any]],
    stack: str,
    networks: Mapping[str, str],
) -> dict[str, list[Change]]:
    """What would change, by service: `running` maps a service's name in the stack to its Spec (Engine API v1.44).

    `networks` maps ids of the swarm's networks, as a Spec has them, to names. An empty list means no changes.
    """
    changes: dict[str, list[Change]] = {}
    for name, service in document.get("services", {}).items():
        spec = running.get(name)
        if spec is None:
            changes[name] = [Change("", "is new")]
        else:
            changes[name] = _changed(desired_values(name, service, document, stack), actual_values(spec, networks))
    removed = [Change("", "will be removed (no longer in the stack)")]
    changes.update({name: removed for name in running if name not in changes})
    return dict(sorted(changes.items()))


def _changed(desired: Values, actual: Values) -> list[Change]:
    changes: list[Change] = []
    for title, new in desired.items():
        old = actual[title]
        if isinstance(new, dict):
            changes += [Change(title, text) for text in _mapping(old, new, hidden=title in _HIDDEN)]
        elif isinstance(new, list) and title in _LISTS:
            changes += [Change(title, f"+ {item}") for item in new if item not in old]
            changes += [Change(title, f"- {item}") for item in old if item not in new]
        elif title == "image" and "@" not in new:
            # Docker adds the digest that a registry gives for the tag.
            if new != (name := old.partition("@")[0]):
                changes.append(Change(title, f"{_shown(name)} → {_shown(new)}"))
        elif new != old:
            changes.append(Change(title, f"{_shown(old)} → {_shown(new)}"))
    return changes


def _mapping(old: Values, new: Values, *, hidden: bool) -> list[str]:
    lines = []
    for key in sorted({*old, *new}):
        if key not in old:
            lines.append(f"+ {key}{'' if hidden else ' ' + _shown(new[key])}")
        elif key not in new:
            lines.append(f"- {key}")
        elif old[key] != new[key]:
            lines.append(f"{key} {'has another value' if hidden else f'{_shown(old[key])} → {_shown(new[key])}'}")
    return lines


def _shown(value: Any) -> str:
    if value in (None, "", [], {}):
        return "(none)"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
