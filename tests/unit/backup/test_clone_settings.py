"""The settings of a clone: the table in clone.yml, and tokens of its own."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from openbalena.backup.clone import clone_settings
from openbalena.base.errors import OperationError
from openbalena.settings.variables import variables

CASES = yaml.safe_load(Path(__file__).with_name("clone.yml").read_text())
SAVED = {"DNS_TLD": "my.example.com"}
TOKENS = {name for name, variable in variables().items() if variable.token}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["title"])
def test_a_clone_uses_nothing_of_the_original(case: dict[str, Any]) -> None:
    saved, here = {**SAVED, **case.get("saved", {})}, case.get("here", {})
    if refusals := case.get("refusals"):
        with pytest.raises(OperationError) as refused:
            clone_settings(saved, here, "clone.example.org")
        _, *lines = str(refused.value).splitlines()
        assert len(lines) == len(refusals)
        assert all(words in line for words, line in zip(refusals, lines, strict=True)), lines
        return
    made = clone_settings(saved, here, "clone.example.org")
    has = {**saved, **made.changes}
    assert has.items() >= case.get("has", {}).items()
    warnings = case.get("warnings", [])
    assert len(made.warnings) == len(warnings), made.warnings
    assert all(words in each for words, each in zip(warnings, made.warnings, strict=True)), made.warnings


def test_every_token_is_a_new_one() -> None:
    old = {name: f"old-{name}" for name in TOKENS}
    saved = {**SAVED, **old, "DB_USER": "openbalena_b", "REDIS_PASSWORD_PREVIOUS": "older"}
    has = {**saved, **clone_settings(saved, {}, "clone.example.org").changes}
    assert all(has[name] and has[name] != old[name] for name in TOKENS)
    assert len({has[name] for name in TOKENS}) == len(TOKENS)
    assert (has["DB_USER"], has["REDIS_PASSWORD_PREVIOUS"]) == ("openbalena_a", "")


def test_a_token_that_is_set_here_is_used() -> None:
    here = {"SUPERUSER_PASSWORD": "chosen"}
    assert clone_settings(SAVED, here, "clone.example.org").changes["SUPERUSER_PASSWORD"] == "chosen"


def test_tokens_that_the_user_makes_are_not_made() -> None:
    """They are then missing, which the settings' rules report."""
    saved = {**SAVED, "TOKENS_MODE": "user", "SUPERUSER_PASSWORD": "old"}
    assert clone_settings(saved, {}, "clone.example.org").changes["SUPERUSER_PASSWORD"] == ""
