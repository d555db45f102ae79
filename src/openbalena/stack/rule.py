"""The rules: one for each key of the Compose Specification. Compiler, validator and the docs' table read this list."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from openbalena.stack.service import Service


class Status(StrEnum):
    """What Swarm makes of a key when we compile it."""

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
    """`key` of a service; `meaning` in Swarm; `instead`, what to write where plain `docker stack` loses the key."""

    key: str
    status: Status
    native: Native
    meaning: str
    instead: str
    apply: Apply


# Filled by the modules of openbalena.stack.rules when they are imported.
RULES: dict[str, Rule] = {}


def rule(key: str, status: Status, native: Native, instead: str = "") -> Callable[[Apply], Apply]:
    """Register a function as the rule of `key`; its docstring is the meaning and the reason."""

    def register(function: Apply) -> Apply:
        meaning = " ".join((inspect.getdoc(function) or "").split())
        RULES[key] = Rule(key, status, native, meaning, instead, function)
        return function

    return register


def supported(key: str, meaning: str) -> None:
    """Register `key` as one that goes into the stack as it is."""

    def keep(service: Service, value: Any) -> None:
        service.put(key, value, service.at(key))

    RULES[key] = Rule(key, Status.SUPPORTED, Native.KEPT, meaning, "", keep)


def impossible(key: str, native: Native, meaning: str, instead: str) -> None:
    """Register `key` as one that Swarm cannot have: an error, unless `x-swarm.without` gives a reason."""

    def refuse(service: Service, value: Any) -> None:
        if value not in (None, False, "", [], {}):
            service.error(key, meaning, instead)

    RULES[key] = Rule(key, Status.IMPOSSIBLE, native, meaning, instead, refuse)


def irrelevant(key: str, native: Native, meaning: str, instead: str = "leave it out") -> None:
    """Register `key` as one that has nothing to say in a cluster: left out, with a note."""

    def leave(service: Service, value: Any) -> None:
        service.note(key, meaning, "")

    RULES[key] = Rule(key, Status.IRRELEVANT, native, meaning, instead, leave)
