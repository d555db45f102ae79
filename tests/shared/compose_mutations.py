"""Compose files with random mistakes, none of which may make the compiler crash.

Each has a number, from which it can be made again.
"""

import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from copy import deepcopy
from datetime import date
from pathlib import Path
from typing import Any

import compose_corpus as corpus
import yaml

from openbalena import compose, stack
from openbalena.base.errors import UsageError
from openbalena.compose.yaml_nodes import parse
from openbalena.stack.docker_stack_schema import schema_findings
from openbalena.stack.validate import validate

SEED = 20261123
CASES = Path(__file__).parents[1] / "cluster" / "stack_cases.yml"
_FRAGMENTS = (
    "null", "[]", "{}", "5", "-1", "true", "''", "'x'", "${A}", "${A:-b}", "$", "!reset null", "!override []", "- x",
    "a: b", "<<: *x", "&a", "*a", "1.5", "0400", "'80:80'", "[1, {a: b}]", "{a: [1]}", "  ", ":", "-", "x-a: 1",
    "'1:2:3:4'", "- {}", "- null", "? a", "%", "@", "\t", "'${A'", "1e400", ".nan", "9" * 400, "\x00", "\u2028", "-5",
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, [], {}, 5, -1, True, "", "x", "${A}", "${A:-b}", "$", 1.5, 0o400, "80:80", "1:2:3:4", [1, {"a": "b"}],
    {"a": [1]}, [{}], [None], {"x-a": 1}, float("inf"), float("nan"), 10**40, "5s", "64m", "a b", "/a:/b:ro", "\u2028",
    "default", "host", date(2001, 1, 1), {"": ""}, {1: 2}, "9" * 400,
)  # fmt: skip
# libyaml's, where PyYAML has them: they are ten times as fast.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def own_sources() -> list[str]:
    """The projects of this repository's tests: every key that Swarm knows occurs in one of them."""
    cases = yaml.safe_load(CASES.read_text())
    return [yaml.safe_dump({"services": case["services"], **case.get("top", {})}) for case in cases]


def corpus_sources(directory: Path) -> list[str]:
    """The files of the corpus that are here; `directory` is for copies of them."""
    places = corpus.directories()
    return [case.files[-1].read_text() for case in corpus.restore(directory, places)] if corpus.here(places) else []


def mutant(sources: Sequence[str], number: int) -> str:
    """One of the sources with a few mistakes in its text or, so that most of them are still YAML, in its values."""
    chance = random.Random(f"{SEED} {number}")
    text = sources[chance.randrange(len(sources))]
    mistakes = chance.choice([1, 1, 1, 2, 4])
    if chance.random() < 0.5:
        # A file with YAML's aliases or tags of Compose's own has mistakes in its text alone.
        with suppress(yaml.YAMLError):
            return _with_wrong_values(yaml.load(text, Loader=_LOADER), mistakes, chance)  # noqa: S506
    return _with_wrong_text(text.split("\n"), mistakes, chance)


def _with_wrong_text(lines: list[str], mistakes: int, chance: random.Random) -> str:
    """Lines taken out, doubled, broken or given another value."""
    for _ in range(mistakes):
        index = chance.randrange(len(lines)) if lines else 0
        line = lines[index] if lines else ""
        kind = chance.random()
        if not lines or kind < 0.15:
            lines.insert(index, chance.choice(_FRAGMENTS))
        elif kind < 0.3:
            del lines[index]
        elif kind < 0.7 and ":" in line:
            lines[index] = f"{line.split(':')[0]}: {chance.choice(_FRAGMENTS)}"
        elif kind < 0.8:
            indent = line[: len(line) - len(line.lstrip())]
            lines[index] = indent + chance.choice(["", "  ", "- "]) + chance.choice(_FRAGMENTS)
        else:
            at = chance.randrange(len(line) + 1)
            lines[index] = line[:at] + chance.choice(_FRAGMENTS) + line[at:]
    return "\n".join(lines)


def _with_wrong_values(tree: Any, mistakes: int, chance: random.Random) -> str:
    """Values taken out, replaced by others, also of the same file, or given the key of another one."""
    for _ in range(mistakes):
        places = list(_places(tree))
        if not places:
            break
        holder, key = chance.choice(places)
        other_holder, other_key = chance.choice(places)
        kind = chance.random()
        if kind < 0.2:
            del holder[key]
        elif kind < 0.6:
            holder[key] = deepcopy(chance.choice(_VALUES))
        elif kind < 0.8 or isinstance(holder, list) or isinstance(other_holder, list):
            holder[key] = deepcopy(other_holder[other_key])
        else:
            holder[other_key] = holder.pop(key)
    return yaml.dump(tree, Dumper=_DUMPER)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each value below `value`, as what holds it and its key or index there."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield value, key
        yield from _places(item)


def is_compiled(path: Path, text: str, number: int) -> bool:
    """Whether the mutant, written to `path`, becomes a stack; if not, it was refused with a message.

    Every second one is compiled with its variables kept, and every fourth is validated too. A stack without errors has
    only values that docker takes. Any other end is an exception other than UsageError.
    """
    path.write_text(text)
    if number % 4 == 0:
        validate([path])
    try:
        project = compose.load([path], environment={"A": "v"}, profiles=["*"], interpolate=bool(number % 2))
        compiled = stack.analyse(project)
        text = stack.stack_file(compiled)
    except UsageError as error:
        assert ": " in str(error), error  # noqa: PT017
        return False
    (tree,) = parse(text, "stack.yml")
    if not any(item.severity is stack.Severity.ERROR for item in (*compiled.diagnostics, *compiled.refused)):
        assert schema_findings(tree) == []
    return True
