"""docs/settings.md is what variables.yml says."""

from openbalena.base.project import ROOT
from openbalena.settings.reference import markdown


def test_the_page_is_fresh() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    assert page == markdown(), "run: python -m openbalena.settings.reference >docs/settings.md"
