"""YAML as go-yaml v3 reads it, with the place of everything."""

import pytest

from openbalena.base.errors import UsageError
from openbalena.compose import plain
from openbalena.compose.yaml_nodes import parse, scalar


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None), ("~", None), ("null", None), ("true", True), ("False", False), ("yes", "yes"), ("on", "on"),
        ("0400", 256), ("0o400", 256), ("0x1F", 31), ("0b11", 3), ("12:30", "12:30"), ("1_000", 1000), ("-5", -5),
        ("08", 8.0), ("1.10", 1.1), ("1e3", 1000.0), (".5", 0.5), ("1.2.3", "1.2.3"), ("-", "-"),
        ("2001-01-01", "2001-01-01"), ("1_0.5", 10.5), ("1_0__", 10), ("._5", "._5"), ("0x_1_f", 31), ("-_7", -7),
        ("0b_", "0b_"), ("_5", "_5"), ("1_0e1_0", 1e11),
    ],
)  # fmt: skip
def test_plain_scalars(text: str, value: object) -> None:
    assert scalar(text) == value
    assert type(scalar(text)) is type(value)


def test_quotes_and_tags_make_text() -> None:
    assert plain(parse("a: '5'\nb: \"no\"\nc: !!str 5\nd: |\n  x\n", "f"))[0] == {
        "a": "5",
        "b": "no",
        "c": "5",
        "d": "x\n",
    }


def test_places() -> None:
    (tree,) = parse("services:\n  web:\n    ports:\n      - 80\n", "f.yml")
    service = tree["services"]["web"]
    assert str(tree["services"].at("web")) == "f.yml:2:3"
    assert str(service["ports"].at(0)) == "f.yml:4:9"


def test_merge_keys_and_anchors() -> None:
    text = "x: &x {a: 1, b: {c: 1}}\ny: &y {a: 2, d: 2}\nz:\n  <<: [*x, *y]\n  b: {e: 1}\n"
    (tree,) = parse(text, "f.yml")
    assert plain(tree["z"]) == {"a": 1, "b": {"e": 1}, "d": 2}
    assert str(tree["z"].at("a")) == "f.yml:1:8"


@pytest.mark.parametrize("key", ["<<", "!!merge <<", "!!merge '<<'"])
def test_a_merge_key_with_its_tag(key: str) -> None:
    (tree,) = parse(f"x: &x {{a: 1}}\ny:\n  {key}: *x\n", "f")
    assert plain(tree["y"]) == {"a": 1}


@pytest.mark.parametrize("key", ["'<<'", "!!str <<"])
def test_text_is_no_merge_key(key: str) -> None:
    (tree,) = parse(f"x: &x {{a: 1}}\ny:\n  {key}: *x\n", "f")
    assert plain(tree["y"]) == {"<<": {"a": 1}}


def test_an_alias_of_text_is_a_key() -> None:
    text = "a: &v 1\n&k b: 2\nc: {*v : x, *k : y, d: *k}\n---\nc: {&k d: 1, *k : 2}\n"
    with pytest.raises(UsageError, match=r"^f:5:14: duplicate key d "):
        parse(text, "f")
    assert plain(parse(text.partition("---")[0], "f")) == [{"a": 1, "b": 2, "c": {"1": "x", "b": "y", "d": "b"}}]


def test_binary_is_text() -> None:
    assert plain(parse("a: !!binary |\n  aGVs\n  bG8=\nb: !!binary NQ==\n", "f")) == [{"a": "hello", "b": "5"}]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: [", "f:2:1"), ("a: 1\na: 2", "f:2:1"), ("a: &a [*a]", "f:1:"), ("a: {<<: 5}", "f:1:"), ("a: *b", "f:1:4"),
        ("? [a]\n: 1", "f:1:"), ("a: &a [x]\nb: {*a : 1}", "f:2:5"), ("{*b : 1}", "f:1:2"), ("a: !!binary a", "f:1:4"),
        ("a: é\nbé: \0", "f:2:5: "), ("a: \tb: c", "f:1:"),
    ],
)  # fmt: skip
def test_errors_name_the_place(text: str, place: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text, "f")
    assert str(caught.value).startswith(place)


def test_a_bomb_of_aliases_stays_small() -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60)]
    assert len(parse("\n".join(lines), "f")[0]) == 60


def test_nesting_without_end_is_refused() -> None:
    with pytest.raises(UsageError):
        parse("[" * 100_000, "f")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("a:\n\tb: 1\n", "this is a tab: YAML is indented with spaces only"),
        ("a:\n  b: 1\n c: 2\n", "check the indentation of this line and of those above it"),
        ("a: b: c\n", "put a text with a colon in quotes, or check the indentation"),
        ("a: [\n", ""),
        ("a:\x85\tb: [", ""),
    ],
)
def test_what_is_usually_wrong_is_named(text: str, hint: str) -> None:
    with pytest.raises(UsageError, match="invalid YAML") as error:
        parse(text, "f.yml")
    assert error.value.problem.hint == hint
