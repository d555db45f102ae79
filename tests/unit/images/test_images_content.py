"""Tags made from content, and what of a build context counts."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbalena.base.errors import UsageError
from openbalena.images import content
from openbalena.images.dockerignore import Ignore


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\n")
    (tmp_path / "entry").write_text("#!/bin/sh\n")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("a")
    return tmp_path


def tag(context: Path, **changed: object) -> str:
    given: dict[str, object] = {"dockerfile": "Dockerfile", "args": {"BASE": "b:1"}, "base": "sha256:1", **changed}
    return content.content_tag(context, **given)  # type: ignore[arg-type]


def test_the_same_content_has_the_same_tag_wherever_and_whenever(context: Path) -> None:
    before = tag(context)
    os.utime(context / "entry", (1, 1))
    assert tag(context) == before
    assert before.startswith("c-") and len(before) == 14


@pytest.mark.parametrize("what", ["file", "name", "mode", "dockerfile", "args", "base", "target", "link"])
def test_every_part_counts(context: Path, what: str) -> None:
    before = tag(context)
    changed: dict[str, object] = {}
    if what == "file":
        (context / "entry").write_text("#!/bin/sh\nexit 1\n")
    elif what == "name":
        (context / "entry").rename(context / "entry2")
    elif what == "mode":
        (context / "entry").chmod(0o755)
    elif what == "dockerfile":
        (context / "Dockerfile").write_text("FROM x\n")
    elif what == "link":
        (context / "link").symlink_to("entry")
    else:
        changed = {"args": {"BASE": "b:2"}} if what == "args" else {what: "x"}
    assert tag(context, **changed) != before


@pytest.mark.parametrize(
    ("mode", "runs"), [(0o700, True), (0o744, True), (0o755, True), (0o611, False), (0o666, False)]
)
def test_of_a_files_mode_the_owners_right_to_run_it_counts_alone(context: Path, mode: int, runs: bool) -> None:
    tags = {}
    for each in (0o644, 0o755, mode):
        (context / "entry").chmod(each)
        tags[each] = tag(context)
    assert tags[mode] == tags[0o755 if runs else 0o644]


def test_what_dockerignore_leaves_out_does_not_count(context: Path) -> None:
    (context / ".dockerignore").write_text("docs\n")
    before = tag(context)
    (context / "docs" / "a.md").write_text("b")
    assert tag(context) == before


def test_a_context_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such directory"):
        tag(tmp_path / "none")
    with pytest.raises(UsageError, match="Dockerfile: no such file"):
        tag(tmp_path)


# The cases of Docker's own documentation (docs.docker.com/build/concepts/context), and a few of moby/patternmatcher.
@pytest.mark.parametrize(
    ("rules", "path", "excluded"),
    [
        ("# comment", "# comment", False),
        ("*/temp*", "somedir/temporary.txt", True),
        ("*/temp*", "a/b/temp", False),
        ("*/*/temp*", "somedir/subdir/temporary.txt", True),
        ("temp?", "tempa", True),
        ("temp?", "temp", False),
        ("**/*.go", "main.go", True),
        ("**/*.go", "a/b/main.go", True),
        ("*.md\n!README.md", "README.md", False),
        ("*.md\n!README*.md\nREADME-secret.md", "README-secret.md", True),
        ("*.md\nREADME-secret.md\n!README*.md", "README-secret.md", False),
        ("docs", "docs/deep/file", True),
        ("docs/", "docs/file", True),
        ("/docs", "docs/file", True),
        ("docs", "mydocs/file", False),
        ("*\n!src", "src/a.py", False),
        ("*\n!src", "other", True),
        ("a/**/b", "a/b", True),
        ("a/**/b", "a/x/y/b", True),
        ("[ab].txt", "a.txt", True),
        ("[ab].txt", "c.txt", False),
        ("a.b", "axb", False),
        # Cases that the matcher of the Docker SDK (docker.utils.build) decides otherwise than Docker.
        ("docs", "Docs/file", False),
        ("**/modules", "a/b/modules/file", True),
        ("[^a].txt", "b.txt", True),
        (r"a\*", "a*", True),
        ("*", ".dockerignore", True),
    ],
)
def test_dockerignore(rules: str, path: str, excluded: bool) -> None:
    assert Ignore(rules.splitlines()).excluded(path) is excluded


@given(
    st.lists(st.text(alphabet="ab*?/!.[]\\#-", max_size=8), max_size=5),
    st.text(alphabet="ab/.", min_size=1, max_size=8),
)
def test_a_rule_and_its_negation_cancel(rules: list[str], path: str) -> None:
    """Whatever a file says, `!**` at its end takes everything back in, and no line is too odd to read."""
    Ignore(rules).excluded(path)
    assert not Ignore([*rules, "!**"]).excluded(path)
