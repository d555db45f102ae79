"""Interpolation: every form, as docker-compose 2.26 reads it (the expected values are its answers)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbalena.base.errors import UsageError
from openbalena.compose.interpolation import Interpolator, split
from openbalena.compose.tree import Position

PLACE = Position("compose.yml", 7, 3)
ENVIRONMENT = {"A": "aa", "E": ""}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$A ${A}", "aa aa"),
        ("$A-b ${A}{ $a.b", "aa-b aa{ .b"),
        ("$$A $$$A $$$$A", "$A $aa $$A"),
        ("${Z:-d}${Z-d}${E:-d}${E-d}|", "ddd|"),
        ("${Z:-}${Z-}|", "|"),
        ("${A:+r}${A+r}${E:+r}${E+r}${Z:+r}${Z+r}", "rrr"),
        ("${Z:-${A}b}", "aab"),
        ("${Z:-${Y:-${A}}/x}", "aa/x"),
        ("${A:+x${E}y}", "xy"),
        ("${Z:-{x}}y ${Z:-${Y:-{a}}}", "{x}y {a}"),
        ("${Z:-a}b} ${Z:-}}", "ab} }"),
        ("${A:+{} ${A:-{}", "{ aa"),
        ("${Z:-a:-b} ${Z-a?b}", "a:-b a?b"),
        ("${Z:-$${A}}", "${A}"),
        ("${E?not empty}", ""),
        ("a$ $5 $| $(x) ${Z:-$} $", "a$ $5 $| $(x) $ $"),
        ("${Z:-$2y$05$a}", "$2y$05"),
    ],
)
def test_forms(text: str, value: str) -> None:
    assert Interpolator(ENVIRONMENT)(text, PLACE) == value


@pytest.mark.parametrize("text", ["a${", "${1}", "${A*}", "${A/a/b}", "${ A }", "${}", "${a.b}", "${Z:=a}", "${A:a}"])
def test_what_is_no_variable_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(UsageError, match=r"^compose\.yml:7:3: "):
        Interpolator(ENVIRONMENT)(text, PLACE)


def test_nesting_has_an_end_before_pythons_stack() -> None:
    assert Interpolator({})("${A:-" * 100 + "x" + "}" * 100, PLACE) == "x"
    with pytest.raises(UsageError, match="nested more than 100 levels deep"):
        Interpolator({})("${A:-" * 3000 + "x" + "}" * 3000, PLACE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${Z:?say $A}", "Z must be set: say aa"),
        ("${Z?}", "Z must be set"),
        ("${E:?no}", "E must be set: no"),
        ("${A:-${Z:?no}}", "Z must be set: no"),
    ],
)
def test_required_variables(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Interpolator(ENVIRONMENT)(text, PLACE)
    assert str(caught.value) == f"compose.yml:7:3: {message}"


def test_what_was_empty_for_want_of_a_value_is_remembered() -> None:
    interpolate = Interpolator(ENVIRONMENT)
    interpolate("$Z ${Y:-} $A", PLACE)
    assert interpolate.unset == {"Z": PLACE}


@given(st.text())
def test_dollars_that_are_doubled_come_back(text: str) -> None:
    assert Interpolator({})(text.replace("$", "$$"), PLACE) == text


@given(st.text(alphabet="${}:-?+Ab"))
def test_any_text_has_a_value_or_an_error_with_its_place(text: str) -> None:
    try:
        Interpolator(ENVIRONMENT)(text, PLACE)
    except UsageError as error:
        assert str(error).startswith("compose.yml:7:3: ")


def test_split_leaves_variables_whole() -> None:
    assert split("${A:-b:c}:/x:ro") == ["${A:-b:c}", "/x", "ro"]
    assert split("a:b") == ["a", "b"]
