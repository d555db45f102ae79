"""The type of the rules: one per service key of the Compose Specification."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from openbalena.stack.service import Service
from openbalena.stack.shape import Shape


class Status(StrEnum):
    """What the compiler makes of a key."""

    SUPPORTED = "supported"
    TRANSLATED = "translated"
    IMPOSSIBLE = "impossible"
    IRRELEVANT = "irrelevant"


class Native(StrEnum):
    """What plain `docker stack deploy` (schema 3.13, docker CLI 28.2) does with a key."""

    KEPT = "kept"
    DROPPED = "dropped"
    REFUSED = "refused"


Apply = Callable[[Service, Any], None]


@dataclass(frozen=True)
class Rule:
    """`key` of a service; its `meaning` in Swarm; `instead`, what to write if plain `docker stack` does not keep it.

    `shape` is the value that plain `docker stack` takes; a key that it refuses has none.
    """

    key: str
    status: Status
    native: Native
    meaning: str
    instead: str
    apply: Apply
    shape: Shape | None


class Rules(dict[str, Rule]):
    """Rules by key, each of which is registered by one of the methods."""

    def rule(
        self, key: str, status: Status, native: Native, instead: str = "", *, shape: Shape | None = None
    ) -> Callable[[Apply], Apply]:
        """Register a function as the rule of `key`; its docstring is the meaning and the reason."""

        def register(function: Apply) -> Apply:
            meaning = " ".join((inspect.getdoc(function) or "").split())
            self[key] = Rule(key, status, native, meaning, instead, function, shape)
            return function

        return register

    def supported(self, key: str, shape: Shape, meaning: str) -> None:
        """Register `key` as one that is copied to the stack unchanged."""

        def keep(service: Service, value: Any) -> None:
            service.put(key, value, service.at(key))

        self[key] = Rule(key, Status.SUPPORTED, Native.KEPT, meaning, "", keep, shape)

    def impossible(self, key: str, native: Native, meaning: str, instead: str, *, shape: Shape | None = None) -> None:
        """Register `key` as one that Swarm does not support: an error, unless `x-swarm.without` gives a reason."""

        def refuse(service: Service, value: Any) -> None:
            if value not in (None, False, "", [], {}):
                service.error(key, meaning, instead)

        self[key] = Rule(key, Status.IMPOSSIBLE, native, meaning, instead, refuse, shape)

    def irrelevant(
        self, key: str, native: Native, meaning: str, instead: str = "leave it out", *, shape: Shape | None = None
    ) -> None:
        """Register `key` as one that has no effect in a cluster: left out, with a note."""

        def leave(service: Service, value: Any) -> None:
            service.note(key, meaning, "")

        self[key] = Rule(key, Status.IRRELEVANT, native, meaning, instead, leave, shape)
