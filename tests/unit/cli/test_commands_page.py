"""docs/commands.md is what the parsers say."""

import re

import pytest
from leaves import LEAVES, Leaf

from openbalena.base.project import ROOT
from openbalena.cli.commands import BY_NAME
from openbalena.cli.reference import markdown

PAGE = markdown()


def test_the_page_is_fresh() -> None:
    page = (ROOT / "docs" / "commands.md").read_text()
    assert page == PAGE, "run: python -m openbalena.cli.reference >docs/commands.md"


@pytest.mark.parametrize("leaf", LEAVES, ids=str)
def test_it_has_every_option(leaf: Leaf) -> None:
    words = " ".join((BY_NAME[leaf.words[0]].name, *leaf.words[1:]))
    section = re.split(r"^###", PAGE.partition(f"# {words}\n")[2], maxsplit=1, flags=re.M)[0]
    assert section.lstrip().startswith(f"./open-balena.sh {words}")
    for option in leaf.parser._option_string_actions.keys() - {"-h", "--help"}:
        assert re.search(f"^\\| .*`{option}[ `]", section, re.M), option


def test_no_page_depends_on_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    assert markdown() == PAGE
