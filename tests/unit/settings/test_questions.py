"""Which settings are asked for, what an empty reply means, and which replies are refused."""

import pytest

from openbalena.settings.questions import default_reply, is_asked, parse_reply
from openbalena.settings.variables import Variable

PLAIN = Variable("NAME", "", "", question="Name?")
DEPENDENT = Variable("NAME", "", "", question="Name?", when="SWITCH")


@pytest.mark.parametrize(
    ("variable", "known", "given", "only", "asked"),
    [
        (PLAIN, {}, {}, (), True),
        (PLAIN, {"NAME": "set"}, {}, (), True),
        (PLAIN, {}, {"NAME": "by an option"}, (), False),
        (PLAIN, {}, {}, ("NAME",), True),
        (PLAIN, {}, {}, ("OTHER",), False),
        (Variable("NAME", "", ""), {}, {}, (), False),
        (DEPENDENT, {"SWITCH": "true"}, {}, (), True),
        (DEPENDENT, {"SWITCH": "a value"}, {}, (), True),
        (DEPENDENT, {}, {}, (), True),
        (DEPENDENT, {"SWITCH": "false"}, {}, (), False),
        (DEPENDENT, {"SWITCH": ""}, {}, (), False),
    ],
)
def test_what_is_asked(
    variable: Variable, known: dict[str, str], given: dict[str, str], only: tuple[str, ...], asked: bool
) -> None:
    assert is_asked(variable, known, given, only) is asked


@pytest.mark.parametrize(
    ("variable", "known", "default"),
    [
        (PLAIN, {}, ""),
        (PLAIN, {"NAME": "set"}, "set"),
        (Variable("NAME", "", "", default="d"), {}, "d"),
        (Variable("NAME", "", "", default="d"), {"NAME": "set"}, "set"),
        (Variable("NAME", "", "", default="d", derive="api.${DNS_TLD}"), {"DNS_TLD": "example.com"}, "api.example.com"),
        # The default of a required variable is an example, so that it must be answered.
        (Variable("NAME", "", "", default="d", required=True), {"NAME": "d"}, ""),
        (Variable("NAME", "", "", default="d", required=True), {"NAME": "set"}, "set"),
    ],
)
def test_what_an_empty_reply_means(variable: Variable, known: dict[str, str], default: str) -> None:
    assert default_reply(variable, known) == default


@pytest.mark.parametrize(
    ("required", "reply", "default", "value", "problem"),
    [
        (False, "", "", "", ""),
        (False, "", "kept.example.com", "kept.example.com", ""),
        (False, "-", "kept.example.com", "", ""),
        (False, "new.example.com", "kept.example.com", "new.example.com", ""),
        (True, "", "", "", "DNS_TLD is required"),
        (True, "-", "kept.example.com", "", "DNS_TLD is required"),
        (True, "", "kept.example.com", "kept.example.com", ""),
    ],
)
def test_what_a_reply_gives(required: bool, reply: str, default: str, value: str, problem: str) -> None:
    assert parse_reply(Variable("DNS_TLD", "", "", required=required), reply, default) == (value, problem)


def test_a_reply_of_another_form_is_a_problem() -> None:
    value, problem = parse_reply(Variable("DNS_TLD", "", ""), "https://example.com", "")
    assert value == "https://example.com" and "DNS_TLD" in problem


@pytest.mark.parametrize(
    ("reply", "default", "value"),
    [("y", "", "true"), ("YES", "false", "true"), ("n", "true", "false"), ("No", "", "false"), ("true", "", "true")]
    + [("", "true", "true"), ("", "", ""), ("-", "true", "")],
)
def test_a_reply_of_yes_or_no(reply: str, default: str, value: str) -> None:
    assert parse_reply(Variable("USE_NFS", "", "", type="boolean"), reply, default) == (value, "")


def test_a_reply_that_is_neither_is_a_problem() -> None:
    assert parse_reply(Variable("USE_NFS", "", "", type="boolean"), "maybe", "")[1] == "expected y or n, not maybe"
