"""The `.env` format: as docker compose reads it, and changed without touching the rest."""

import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from openbalena.base.errors import UsageError
from openbalena.compose import dotenv

FILE = Path(".env")
NAMES = st.from_regex(r"[A-Z_][A-Z0-9_]{0,20}", fullmatch=True)
VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
LINES = st.lists(
    st.sampled_from(
        [
            "",
            "   ",
            "# a comment, with A=b and 'quotes",
            "export KEPT='single \\ $x'",
            'KEPT_DOUBLE="a \\"b\\" \\$c" # and why',
            "KEPT_PLAIN=a#b # c",
            "KEPT_LINES='one\n# two\nthree'",
            "KEPT_COLON: x",
        ]
    )
)


def parse(text: str, environment: dict[str, str] | None = None) -> dotenv.Dotenv:
    return dotenv.parse(text, FILE, environment or {})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A=x", "x"),
        ("A=", ""),
        ("A=\nB=y", ""),
        ("  A = x y  \n", "x y"),
        ("export A=x", "x"),
        ("export\tA=x", "x"),
        ("A: x", "x"),
        ("A=x # comment", "x"),
        ("A=x#no-comment", "x#no-comment"),
        ("A=x\t# tab", "x\t# tab"),
        ("A='x # y' # comment", "x # y"),
        ("A='x'#comment", "x"),
        ("A='a\\nb'", "a\\nb"),
        ("A='it\\'s'", "it's"),
        ("A='$B ${B}'", "$B ${B}"),
        ('A="a\\nb\\tc"', "a\nb\tc"),
        ('A="\\"x\\" \\\\ \\$B \\q"', '"x" \\ $B \\q'),
        ('A="\\0101\\07"', "A\\7"),
        ('A="one\ntwo"', "one\ntwo"),
        ('A="one\r\ntwo"\r\n', "one\r\ntwo"),
        ("A='one\r\ntwo'\r\n", "one\r\ntwo"),
        ("A=\rx\r\n", "x"),
        ("A= \r'x'\r\n", "x"),
        ("A=\r\nB=y", ""),
        ("A=x\r\nB=y\r\n", "x"),
        ("\ufeffA=x", "x"),
        ("A=$$B", "$B"),
        ("A=it's", "it's"),
    ],
)
def test_reads_as_compose_does(text: str, value: str) -> None:
    assert parse(text).values["A"] == value


@pytest.mark.parametrize(
    ("value", "expanded"),
    [
        ("$B", "b"),
        ("${B}c", "bc"),
        ('"${B}c"', "bc"),
        ("${NO:-d}", "d"),
        ("${B:+set}", "set"),
        ("${NO:-${B}}", "b"),
        ("$E", "from-environment"),
        ("x$", "x$"),
        ("x$1$(y)", "x$1$(y)"),
        ("$C", "environment-first"),
    ],
)
def test_expands_variables(value: str, expanded: str) -> None:
    file = parse(f"B=b\nC=c\nA={value}\n", {"E": "from-environment", "C": "environment-first"})
    assert file.values["A"] == expanded


def test_warns_of_a_variable_that_is_not_set() -> None:
    file = parse("A=x${NO}\n")
    assert file.values["A"] == "x"
    assert [warning.partition(":1: ")[2][:32] for warning in file.warnings] == ["A uses a variable that is not se"]
    assert "NO" not in file.warnings[0]


def test_a_name_alone_is_inherited() -> None:
    file = parse("A\nB\n", {"A": "x"})
    assert file.values == {"A": "x"}
    file.set("A", "y z")
    assert file.text == "A='y z'\nB\n"


def test_the_last_of_two_lines_counts() -> None:
    file = parse("A=1\nB=2\nA=3\n")
    assert file.values["A"] == "3"
    assert file.warnings == [".env:3: A is also set on line 1: the last line wins"]
    file.set("A", "4")
    assert file.text == "A=1\nB=2\nA=4\n"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("A=1\nthis is text\n", 2, "expected NAME=value"),
        ("A=1\n=x\n", 2, "expected NAME=value"),
        ("\n\nA B=x\n", 3, "expected NAME=value"),
        ("A=1\n\nB='never closed\nC=2\n", 3, "no closing one"),
        ('A="x" hidden\n', 1, "text after the closing"),
        ("L='one\ntwo'\n!\n", 3, "expected NAME=value"),
        ("A=" + "${hidden:-" * 3000 + "}" * 3000, 1, "too many nested ones"),
        ("A=${hidden\n", 1, "single quotes"),
        ("A=${NO:?hidden}\n", 1, "single quotes"),
    ],
)
def test_refuses_a_malformed_line_without_quoting_it(text: str, line: int, words: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(text)
    assert str(error.value).startswith(f".env:{line}: ")
    assert words in str(error.value)
    assert "hidden" not in str(error.value)


@given(
    before=LINES, name=NAMES, value=VALUES, after=LINES, old=st.sampled_from([None, "", "x # why", "'y'", '"z" # q'])
)
@example(before=[], name="A", value="\\", after=[], old=None)
@example(before=[], name="A", value='it\'s \\ "x" $y `z`\n#', after=["B=1"], old="'y'")
@example(before=[], name="A", value="\r", after=[], old=None)
def test_what_is_set_is_read_back_and_nothing_else_changes(
    before: list[str], name: str, value: str, after: list[str], old: str | None
) -> None:
    own = [] if old is None else [f"{name}={old}"]
    file = parse("\n".join([*before, *own, *after]))
    others = {other: entry.value for other, entry in file.entries.items() if other != name}
    text, entry = file.text, file.entries.get(name)
    file.set(name, value)
    again = parse(file.text)
    assert again.values[name] == value
    assert {other: found for other, found in again.values.items() if other != name} == others
    if entry:
        assert file.text[: entry.start] == text[: entry.start]
        assert file.text.endswith(text[entry.end :])
    else:
        assert file.text.startswith(text)


@given(LINES, st.sampled_from(["A=b", "export A='one\ntwo' # why", 'A="x"', "A: x"]), LINES)
def test_what_is_removed_is_gone_and_nothing_else_changes(before: list[str], line: str, after: list[str]) -> None:
    above, below = "".join(f"{text}\n" for text in before), "\n".join(after)
    file = dotenv.parse(f"{above}{line}\nA=again\n{below}", FILE, {})
    file.remove("A")
    assert file.text == above + below and "A" not in file.entries


def test_upstream_file_survives() -> None:
    text = (
        "export DNS_TLD=openbalena.local\nexport PRODUCTION_MODE=false\nexport ORG_UNIT=openBalena\n"
        "BALENARC_NO_ANALYTICS=1\nSUPERUSER_EMAIL=admin@${DNS_TLD}\nVERBOSE=false\n"
    )
    file = parse(text)
    assert file.values["SUPERUSER_EMAIL"] == "admin@openbalena.local"
    file.set("DNS_TLD", "my.example.com")
    assert file.text == text.replace("openbalena.local", "my.example.com")


def test_keeps_crlf() -> None:
    file = parse("A=1\r\nB=2\r\n")
    file.set("A", "3")
    file.set("C", "4")
    assert file.text == "A=3\r\nB=2\r\nC=4\r\n"


def test_a_long_file_is_read_in_time_that_grows_with_its_length() -> None:
    """Counting lines from the top at each, and copying what stands above, took 4 s for 20,000."""

    def lasts(lines: int) -> float:
        text = "".join(f"A{number}=$B x\n" for number in range(lines))
        start = time.process_time()
        assert list(parse(text, {"B": "y"}).entries.values())[-1].line == lines
        return time.process_time() - start

    short = min(lasts(2_000) for _ in range(3))
    assert lasts(20_000) < 40 * short


def test_says_why_a_file_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        dotenv.read_file(tmp_path / ".env")
    (tmp_path / ".env").write_bytes(b"A=\xff")
    with pytest.raises(UsageError, match="UTF-8"):
        dotenv.read_file(tmp_path / ".env")
