"""One service on its way from Compose to Swarm: what the rules read and write, and their diagnostics."""

from dataclasses import dataclass, field
from typing import Any

from openbalena.compose.tree import Map, Position, Seq
from openbalena.stack.diagnostic import Diagnostic, Severity


@dataclass
class Service:
    """`source` is the service in Compose's normal form, `target` what goes into the stack.

    `interpolated` is false if `${…}` was kept as written.
    """

    name: str
    source: Map
    project: str
    position: Position
    target: Map = field(default_factory=Map)
    build: Map | None = None
    interpolated: bool = True
    diagnostics: list[Diagnostic] = field(default_factory=list)

    def at(self, key: str) -> Position:
        """Where `key` was written."""
        return self.source.where.get(key, self.position)

    def put(self, key: str, value: Any, position: Position) -> None:
        """Set a key of the compiled service."""
        self.target.put(key, value, position)

    def below(self, *keys: str) -> Map:
        """The mapping at `keys` of the compiled service, created if missing (the source's is never modified)."""
        place = self.target
        for key in keys:
            value = place.get(key)
            changed = value.copy() if isinstance(value, Map) else Map(position=self.position)
            place.put(key, changed, place.at(key))
            place = changed
        return place

    def append(self, key: str, item: Any, position: Position) -> None:
        """Add an item to a list of the compiled service."""
        items = Seq(position)
        for value, place in self.target[key].located() if key in self.target else ():
            items.put(value, place)
        items.put(item, position)
        self.put(key, items, position)

    def error(self, rule: str, meaning: str, instead: str, position: Position | None = None) -> None:
        """Refuse a key."""
        self._say(Severity.ERROR, rule, meaning, instead, position)

    def warn(self, rule: str, meaning: str, instead: str, position: Position | None = None) -> None:
        """Report that something is lost."""
        self._say(Severity.WARNING, rule, meaning, instead, position)

    def note(self, rule: str, meaning: str, instead: str, position: Position | None = None) -> None:
        """Report what was changed."""
        self._say(Severity.NOTE, rule, meaning, instead, position)

    def _say(self, severity: Severity, rule: str, meaning: str, instead: str, position: Position | None) -> None:
        self.diagnostics.append(Diagnostic(position or self.at(rule), rule, severity, meaning, instead))
