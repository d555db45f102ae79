"""What the rules say of a key: the text of the table in docs/compose-to-swarm.md, for one key."""

import difflib
from dataclasses import dataclass

from openbalena.base.errors import UsageError
from openbalena.compose.normal.service import KEYS
from openbalena.stack.rules import RULES

# Keys that the loader resolves before the rules are applied: what `docker stack` does, and what the loader makes of it.
_LOADED = {
    "env_file": ("kept", "read when the stack is compiled; its variables become `environment`"),
    "extends": ("refused", "resolved when the stack is compiled"),
    "label_file": ("refused", "read when the stack is compiled; its labels become `labels`"),
}
# Rules that are not about a key of a service.
_OTHERS = {
    "syntax": "the file cannot be read, or does not define a Compose project",
    "variables": "a variable that has no value where the stack is deployed or compiled",
    "volumes.bind": "A bind mount's path must exist on every node that may run a task: Swarm does not create it",
    "volumes.local": "A local volume is a different one on each node: it does not move with its service's tasks",
    "secrets.file": "A file that must be there when the stack is rendered or deployed",
    "configs.file": "A file that must be there when the stack is rendered or deployed",
    "volumes.external": "a volume that one file declares external and another does not",
    "networks.driver": "A network becomes an overlay, which spans nodes",
    "x-swarm": "A Compose fragment that is merged over its service, or over the project, for Swarm only",
    "stateful": "A volume that is on one node: its service runs there, with one task",
}


@dataclass(frozen=True)
class Explanation:
    """`compiled` is what the compiler makes of `key`, `native` what plain `docker stack deploy` does with it.

    Both are empty for a rule that is not about a key of a service.
    """

    key: str
    meaning: str
    instead: str = ""
    compiled: str = ""
    native: str = ""


def explain(key: str) -> Explanation:
    """The explanation of a service's key or of a rule; that of `deploy` for `deploy.replicas`.

    Raises UsageError if there is none.
    """
    words = key.split(".")
    for count in range(len(words), 0, -1):
        found = _explained(".".join(words[:count]))
        if found:
            return found
    known = sorted({*KEYS, *RULES, *_OTHERS})
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else "expected a key of a service, or a rule of `stack validate`"
    raise UsageError(f"{key}: no rule has this name", hint)


def all_keys() -> list[str]:
    """The keys of a service, sorted."""
    return sorted({*KEYS, *RULES})


def _explained(key: str) -> Explanation | None:
    if key in _LOADED:
        native, meaning = _LOADED[key]
        return Explanation(key, meaning, "", "translated", native)
    if key in RULES:
        rule = RULES[key]
        return Explanation(key, rule.meaning.rstrip("."), rule.instead, str(rule.status), str(rule.native))
    return Explanation(key, _OTHERS[key]) if key in _OTHERS else None
