"""Results of benches in the docs: rows of this run replace those of the same name, and others are kept."""

from pathlib import Path

import bench_page
import pytest

HEAD = "| event | seconds |\n|---|---|\n"


def test_rows_of_other_events_are_kept_in_the_order_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    monkeypatch.setattr(bench_page, "PAGE", page)
    page.write_text("before\n<!-- written by a -->\n<!-- end -->\nafter <!-- written by b -->\n<!-- end -->\n")
    names = ["one", "two", "three"]
    bench_page.write_table("a", HEAD, ["| three | 3 |\n", "| two | 2 |\n"], names)
    bench_page.write_table("a", HEAD, ["| two | 22 |\n", "| one | 1 |\n"], names)
    text = page.read_text()
    assert HEAD + "| one | 1 |\n| two | 22 |\n| three | 3 |\n\n<!-- end -->\nafter <!-- written by b -->" in text
    assert text.startswith("before\n<!-- written by a -->\n\n") and text.endswith("b -->\n<!-- end -->\n")
    bench_page.write_table("a", HEAD, ["| two | 222 |\n"])
    assert HEAD + "| two | 222 |\n\n<!-- end -->" in page.read_text()
    with pytest.raises(ValueError, match="no place for a table of c"):
        bench_page.write_table("c", HEAD, [])
