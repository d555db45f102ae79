"""The corpus of public Compose files: what belongs to it, where its files are, and which projects they make.

corpus.tsv has facts about the files, none of the files: scripts/corpus fetches them. Projects are tested only where all
files of their repository are here, because they read each other; `summary` counts the rest.
"""

import csv
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from debian import CACHE

MANIFEST = Path(__file__).with_name("corpus.tsv")
MADE = CACHE / "corpus"
ADJACENT = Path(__file__).resolve().parents[3] / "shared" / "corpus"


class CorruptFileError(Exception):
    """A file of the corpus that has another checksum than the manifest."""


@dataclass(frozen=True)
class File:
    """One row of the manifest; its head describes the fields."""

    repository: str
    commit: str
    path: str
    sha256: str
    licence: str
    kind: str
    onto: tuple[str, ...]
    needs: dict[str, str]

    @property
    def name(self) -> str:
        """Where the file is in a tree of all repositories."""
        return f"{self.repository}/{self.path}"

    @property
    def is_project(self) -> bool:
        """Whether it is tested, not just read by others."""
        return self.kind in ("project", "invalid")

    def verify(self, content: bytes, origin: object) -> bytes:
        """The content, if it is what the manifest says. Raises CorruptFileError."""
        found = hashlib.sha256(content).hexdigest()
        if found != self.sha256:
            raise CorruptFileError(f"{origin}: the checksum is {found}, expected {self.sha256}")
        return content


@dataclass(frozen=True)
class Case:
    """One project: `files` in merge order, below the restored tree of its repository."""

    name: str
    files: tuple[Path, ...]
    environment: dict[str, str] = field(default_factory=dict)
    invalid: bool = False


@cache
def manifest() -> tuple[File, ...]:
    """All files of the corpus, in the order of their projects."""
    lines = [line for line in MANIFEST.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return tuple(map(_file, csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)))


def _file(row: dict[str, str]) -> File:
    onto, needs = ("" if row[key] == "-" else row[key] for key in ("onto", "needs"))
    pairs = (pair.partition("=") for pair in needs.split())
    facts = {**row, "onto": tuple(onto.split()), "needs": {name: value for name, _, value in pairs}}
    return File(**facts)  # type: ignore[arg-type]


def directories() -> list[Path]:
    """Where files are looked for: OPEN_BALENA_CORPUS, or else next to the checkout, then in the cache."""
    chosen = os.environ.get("OPEN_BALENA_CORPUS")
    return [Path(chosen)] if chosen else [ADJACENT, MADE]


def located(file: File, places: Sequence[Path]) -> Path | None:
    """The file in the first place that has it: as OWNER/NAME/PATH, or as OWNER+NAME/PATH with `__` for each slash."""
    flat = f"{file.repository.replace('/', '+')}/{file.path.replace('/', '__')}"
    candidates = (place / name for place in places for name in (file.name, flat))
    return next((path for path in candidates if path.is_file()), None)


def missing(places: Sequence[Path]) -> list[File]:
    """The files that none of the places has."""
    return [file for file in manifest() if located(file, places) is None]


def here(places: Sequence[Path]) -> list[File]:
    """The files of the repositories of which no file is missing."""
    incomplete = {file.repository for file in missing(places)}
    return [file for file in manifest() if file.repository not in incomplete]


def summary(places: Sequence[Path]) -> str:
    """How much is here and how much is not, in one line."""
    files, absent = manifest(), missing(places)
    projects = sum(file.is_project for file in files)
    left = projects - sum(file.is_project for file in here(places))
    counts = f"{len(files) - len(absent)} of {len(files)} files here; {len(absent)} missing"
    return f"corpus: {counts}, {left} of {projects} projects not tested (scripts/corpus fetches them)"


def restore(target: Path, places: Sequence[Path]) -> list[Case]:
    """Copy the complete repositories below `target` and return their projects. Raises CorruptFileError."""
    files = here(places)
    for file in files:
        found = located(file, places)
        assert found is not None, f"{file.name} has just been deleted"
        content = file.verify(found.read_bytes(), found)
        path = target / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        if file.kind == "defaults":
            path.with_name(".env").write_bytes(content)
    return list(_cases(target, {file.name: file for file in files}))


def _cases(target: Path, files: dict[str, File]) -> Iterator[Case]:
    for file in files.values():
        if not file.is_project:
            continue
        merged = [*(files[f"{file.repository}/{path}"] for path in file.onto), file]
        yield Case(
            name=file.name,
            files=tuple(target / each.name for each in merged),
            environment={name: value for each in merged for name, value in each.needs.items()},
            invalid=file.kind == "invalid",
        )
