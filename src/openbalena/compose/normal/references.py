"""What refers to a secret or a config."""

from typing import Any

from openbalena.compose.normal.scalars import Normalise, each, fields, integer, text, untouched
from openbalena.compose.tree import Map, Position, Seq
from openbalena.errors import UsageError


def content_references(value: Any, position: Position) -> Seq:
    """secrets and configs of a service in long form."""
    known: dict[str, Normalise] = {"source": text, "target": text, "uid": text, "gid": text, "mode": integer}
    references = Seq(position)
    for item, place in (each(untouched)(value, position)).located():
        short = Map([("source", text(item, place))], place) if not isinstance(item, Map) else item
        reference = fields(known, "a reference")(short, place)
        if "source" not in reference:
            raise UsageError(f"{place}: a reference in long form has to say its source")
        references.put(reference, place)
    return references
