"""Whether an older api runs on a database that a newer one has migrated."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from openbalena.swarm.api_schema import Answer, is_older, judge, parse_executed, same_image

CASES: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("api_schema.yml").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["name"]))
def test_what_an_api_may_run_on(case: dict[str, Any]) -> None:
    found = judge(case["executed"], case["known"])
    assert found.answer is Answer(case["answer"])
    said = [*found.limits, *filter(None, [found.reason])]
    expected = case.get("says", [])
    assert len(said) == len(expected) and all(text in each for each, text in zip(said, expected, strict=True))


@pytest.mark.parametrize(
    ("text", "keys"),
    [('["00001", "0077"]', ["00001", "0077"]), ("[]", []), ("", None), ("{}", None), ("[1]", None), ("null", None)],
)
def test_the_databases_answer(text: str, keys: list[str] | None) -> None:
    if keys is not None:
        assert parse_executed(text) == keys
        return
    with pytest.raises(ValueError):  # noqa: PT011 (json has a message of its own)
        parse_executed(text)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a:1", "a:1", True),
        ("a:1", "a:2", False),
        ("a:1@sha256:00", "a:1", True),
        ("a:1@sha256:00", "mirror/a:1@sha256:00", True),
        ("a:1@sha256:00", "a:1@sha256:01", False),
        ("a:1@sha256:00", "a:2", False),
        ("", "a:1", False),
    ],
)
def test_images_are_compared_by_digest_where_both_have_one(one: str, other: str, *, same: bool) -> None:
    assert same_image(one, other) is same is same_image(other, one)


@pytest.mark.parametrize(
    ("image", "other", "older"),
    [
        ("balena/api:v9.0.12", "balena/api:v49.0.1", True),
        ("r:5000/api:49.0.1@sha256:0a", "api:v49.0.12", True),
        ("api:49.0.12", "api:49.0.12", False),
        ("api:50.0.0", "api:49.9.9", False),
        ("api:main", "api:49.9.9", False),
        ("api:49.9.9", "api:main", False),
        ("api:49.9.9", "", False),
    ],
)
def test_versions_are_compared_as_numbers(image: str, other: str, *, older: bool) -> None:
    assert is_older(image, other) is older
