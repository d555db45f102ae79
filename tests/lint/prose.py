"""Prose of the project: documents, docstrings, comments and messages, with the words of prose.yml that are in it.

`.venv.dev/bin/python tests/lint/prose.py [PATH…]` prints every place.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
WORDS = Path(__file__).with_name("prose.yml")
PATHS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "docker-compose.yml", "open-balena.sh")
DIRECTORIES = ("docs", "lab", "images", "scripts", "src")
# Made from texts in src, where they are checked.
GENERATED = ("docs/settings.md", "docs/commands.md")
WIDTH = 120

_CODE = re.compile(r"`[^`]*`")
_COMMENT = re.compile(r"(?:^|(?<=\s))(?:#|--(?=\s)|//(?=\s))(?!!)[ ]?(.*)")
_COMMENTED = {"", ".yml", ".yaml", ".sh", ".cfg", ".lua", ".conf", ".toml"}


@dataclass(frozen=True)
class Chunk:
    """A piece of prose that begins at `line` of `path` (relative to the root)."""

    path: str
    line: int
    text: str


@dataclass(frozen=True)
class Place:
    """A word that is not to be used."""

    path: str
    line: int
    word: str
    instead: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.word}: {self.instead}"


@cache
def patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    """The words of prose.yml, compiled, each with its better one."""
    entries = yaml.safe_load(WORDS.read_text())
    return tuple((re.compile(entry["word"], re.IGNORECASE), entry["instead"]) for entry in entries)


def find(chunk: Chunk) -> Iterator[Place]:
    """The places in `chunk`. A line break counts as a blank, and what is between backquotes as code."""
    text = re.sub(r"\s", " ", _CODE.sub(lambda code: "`" + re.sub(r"\S", "…", code.group()[1:-1]) + "`", chunk.text))
    starts, squeezed = _squeeze(text)
    for pattern, instead in patterns():
        for match in pattern.finditer(squeezed):
            line = chunk.line + chunk.text.count("\n", 0, starts[match.start()])
            yield Place(chunk.path, line, match.group().strip(), instead)


def _squeeze(text: str) -> tuple[list[int], str]:
    """`text` with one blank for several, and where each of its characters was."""
    kept = [index for index, char in enumerate(text) if char != " " or text[index - 1 : index] != " "]
    return kept, "".join(text[index] for index in kept)


def chunks(path: Path) -> Iterator[Chunk]:
    """The prose in a file; of one that is neither Python nor Markdown its comments."""
    name, text = str(path.relative_to(ROOT)), path.read_text()
    if path.suffix == ".md":
        yield from _markdown(name, text)
    elif path.suffix == ".py" or text.startswith("#!/usr/bin/env python"):
        yield from _python(name, text)
    elif path.name == "variables.yml":
        yield Chunk(name, 1, text)
    else:
        yield from _comments(name, text)


def _markdown(name: str, text: str) -> Iterator[Chunk]:
    """Paragraphs and rows of tables; no code, whether fenced or indented."""
    lines = text.split("\n")
    generated = fenced = in_list = False
    start, held = 1, list[str]()
    for number, line in enumerate([*lines, ""], 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        generated = (generated or "rules: begin" in line) and "rules: end" not in line
        in_list = bool(re.match(r"\s*([-*]|\d+\.) ", line)) or (in_list and (not line or line.startswith(" ")))
        code = fenced or generated or (line.startswith("    ") and not (in_list and held))
        if code or not line.strip() or line.startswith(("|", "#", "<!--")):
            if held:
                yield Chunk(name, start, "\n".join(held))
            held = []
            if line.startswith(("|", "#")) and not code:
                yield Chunk(name, number, line)
            continue
        if not held:
            start = number
        held.append(line)


def _python(name: str, text: str) -> Iterator[Chunk]:
    yield from _joined(
        name,
        (
            (token.start[0], token.string.lstrip("#").strip())
            for token in tokenize.generate_tokens(io.StringIO(text).readline)
            if token.type == tokenize.COMMENT
        ),
    )
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield Chunk(name, node.lineno, node.value)


def _comments(name: str, text: str) -> Iterator[Chunk]:
    found = ((number, _COMMENT.search(line)) for number, line in enumerate(text.split("\n"), 1))
    yield from _joined(name, ((number, match[1]) for number, match in found if match))


def _joined(name: str, lines: Iterable[tuple[int, str]]) -> Iterator[Chunk]:
    """Comments on lines that follow each other as one chunk."""
    start, held = 0, list[str]()
    for number, text in lines:
        if held and number != start + len(held):
            yield Chunk(name, start, "\n".join(held))
            held = []
        if not held:
            start = number
        held.append(text)
    if held:
        yield Chunk(name, start, "\n".join(held))


def files() -> list[Path]:
    """The files whose prose is checked."""
    found = [ROOT / name for name in PATHS if (ROOT / name).exists()]
    for directory in DIRECTORIES:
        found += [path for path in sorted((ROOT / directory).rglob("*")) if path.is_file() and _is_source(path)]
    return [path for path in found if str(path.relative_to(ROOT)) not in GENERATED]


def too_long(path: Path) -> list[int]:
    """The lines of a document that are longer than WIDTH, tables and code left out."""
    lines = path.read_text().split("\n")
    prose = {number for chunk in _markdown(path.name, "\n".join(lines)) for number in _lines(chunk)}
    return [number for number in sorted(prose) if len(lines[number - 1]) > WIDTH and lines[number - 1][:1] != "|"]


def _lines(chunk: Chunk) -> range:
    return range(chunk.line, chunk.line + chunk.text.count("\n") + 1)


def _is_source(path: Path) -> bool:
    if any(part.startswith(".") or part in ("__pycache__", "pki", "deploy") for part in path.relative_to(ROOT).parts):
        return False
    return path.suffix in {".md", ".py", *_COMMENTED}


def places(paths: Iterable[Path]) -> list[Place]:
    """Every place in `paths`, by file and line."""
    found = [place for path in paths for chunk in chunks(path) for place in find(chunk)]
    return sorted(found, key=lambda place: (place.path, place.line))


def main(arguments: list[str]) -> None:
    """Print the places of all files or of those named."""
    wanted = [Path(name).resolve() for name in arguments] or files()
    for place in places(path for path in files() if any(path == one or one in path.parents for one in wanted)):
        print(place)


if __name__ == "__main__":
    main(sys.argv[1:])
