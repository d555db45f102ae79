"""Any stack as a rendered directory: one that `stack render -o` has written, or a Compose project's, compiled now."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from openbalena import stack
from openbalena.base.errors import UsageError
from openbalena.compose import Located


@dataclass(frozen=True)
class Rendered:
    """A stack as rendered in `directory`, of which the name in the swarm is `name`."""

    directory: Path
    name: str


@contextmanager
def rendered(source: Located | Rendered) -> Iterator[Rendered]:
    """The stack, in a directory that is removed afterwards unless it was given.

    Raises UsageError for a project that cannot be compiled, and a directory without a stack.
    """
    if isinstance(source, Rendered):
        if not (source.directory / "stack.yml").is_file():
            raise UsageError(f"{source.directory}: has no stack.yml: expected a directory that stack render -o wrote")
        yield source
        return
    compiled = stack.compile(source.load())
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch) / "stack"
        stack.render(compiled, directory, {})
        yield Rendered(directory, compiled.name)
