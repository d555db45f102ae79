"""The project's prose is plain technical English: no word of prose.yml is in it."""

from pathlib import Path

import prose
import pytest
import yaml
from prose import ROOT, Chunk, Place


def found(text: str, suffix: str, monkeypatch: pytest.MonkeyPatch, directory: Path) -> list[tuple[int, str]]:
    monkeypatch.setattr(prose, "ROOT", directory)
    path = directory / f"file{suffix}"
    path.write_text(text)
    return [(place.line, place.word) for place in prose.places([path])]


def test_no_prose_has_a_word_to_avoid() -> None:
    places = prose.places(prose.files())
    assert places == [], "\n" + "\n".join(map(str, places))


@pytest.mark.parametrize(
    "path", [path for path in prose.files() if path.suffix == ".md"], ids=lambda path: str(path.relative_to(ROOT))
)
def test_lines_of_documents_are_short(path: Path) -> None:
    assert prose.too_long(path) == [], "these lines have more than 120 characters"


def test_every_word_has_a_better_one() -> None:
    entries = yaml.safe_load(prose.WORDS.read_text())
    assert [entry for entry in entries if set(entry) != {"word", "instead"} or not entry["instead"]] == []
    for pattern, _ in prose.patterns():
        assert not pattern.search("Run swarm-up again: it retries the update and prints what has changed.")


def test_a_line_break_and_an_indent_count_as_a_blank() -> None:
    (place,) = prose.find(Chunk("a.py", 7, "The update has\n    to wait."))
    assert place == Place("a.py", 7, "has to", "must, or need to")
    assert list(prose.find(Chunk("a.py", 7, "Run `it goes on` again."))) == []


def test_what_is_prose(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = "# Anew\n\nPlain\n`beside`.\n\n    by hand\n\n```sh\nanew\n```\n\n- item anew\n  beside it\n\n| anew |\n"
    expected = [(1, "Anew"), (12, "anew"), (13, "beside"), (15, "anew")]
    assert found(page, ".md", monkeypatch, tmp_path) == expected
    module = '"""A thing\nbeside it."""\nbeside = 1  # by hand\n# It\n# goes\n# on.\nprint(f"made anew: {beside}")\n'
    assert found(module, ".py", monkeypatch, tmp_path) == [(2, "beside"), (3, "by hand"), (5, "goes on"), (7, "anew")]
    script = "#!/bin/sh\n# Made anew\necho beside  # by hand\n"
    assert found(script, ".sh", monkeypatch, tmp_path) == [(2, "anew"), (3, "by hand")]
