"""Errors print as one sentence and keep its parts."""

import pytest

from openbalena.base.errors import OpenBalenaError, OperationError, Problem, UsageError


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OperationError("node1 is down"), "node1 is down"),
        (OperationError("node1 is down", "start it"), "node1 is down: start it"),
        (UsageError("a.yml: missing", "create it", key="a.yml"), "a.yml: missing: create it"),
        (UsageError("no image", where=("a.yml", 3, 5)), "a.yml:3:5: no image"),
        (UsageError("no such key", "remove it", where=("a.yml", 3, 5)), "a.yml:3:5: no such key: remove it"),
    ],
)
def test_an_error_as_text(error: OpenBalenaError, text: str) -> None:
    assert str(error) == text
    assert text.endswith(str(error.problem))


def test_an_error_keeps_its_parts() -> None:
    error = UsageError("no such key", "remove it", key="services.api", where=("a.yml", 3, 5))
    assert error.problem == Problem("no such key", "remove it", "services.api")
    assert error.where == ("a.yml", 3, 5)
