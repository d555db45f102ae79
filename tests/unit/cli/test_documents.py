"""What the documents tell users to type exists, and so do the files they point at."""

import re
from pathlib import Path

import pytest

from openbalena.base.project import ROOT
from openbalena.cli.commands import BY_NAME

DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
CALL = re.compile(r"\./open-balena\.sh((?: --lab| --project-directory \S+)*) ([a-z][a-z-]*)")
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
ANCHOR = re.compile(r"\]\(([^)#:]*)#([^)]+)\)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_in_it_is_there(document: Path) -> None:
    named = {match.group(2) for match in CALL.finditer(document.read_text())} - {"help"}
    assert named <= BY_NAME.keys()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_in_it_leads_somewhere(document: Path) -> None:
    targets = {match.group(1) for match in LINK.finditer(document.read_text())}
    assert {target for target in targets if not (document.parent / target).exists()} == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_anchor_in_it_is_a_heading(document: Path) -> None:
    targets = {
        (document.parent / page if page else document, anchor) for page, anchor in ANCHOR.findall(document.read_text())
    }
    assert {(path.name, anchor) for path, anchor in targets if anchor not in anchors(path.read_text())} == set()


def anchors(page: str) -> set[str]:
    """The headings of a page as GitHub and GitLab name them in links."""
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_the_readme_begins_with_the_demo_and_then_the_tests() -> None:
    commands = re.findall(r"^    (\./\S+.*)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert commands[:2] == ["./open-balena.sh demo", "./scripts/test"]
