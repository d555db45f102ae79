"""Each key of a stack file with each kind of value: `stack validate` refuses what `docker stack config` refuses."""

import random
from pathlib import Path

import pytest
import stack_values
from stack_values import Case

from openbalena import compose, stack
from openbalena.base.errors import UsageError
from openbalena.compose.yaml_nodes import parse
from openbalena.stack.docker_stack_schema import schema_findings
from openbalena.stack.rule import Native
from openbalena.stack.rules import RULES
from openbalena.stack.validate import validate

SEED, ASKED, RENDERED = 20261126, 40, 1000


@pytest.fixture(scope="module")
def answers() -> dict[Case, bool]:
    """Whether `docker stack config` takes it, of each case."""
    return stack_values.recorded()


def test_every_key_that_docker_takes_has_the_shape_of_its_value() -> None:
    assert [key for key, rule in RULES.items() if (rule.shape is None) != (rule.native is Native.REFUSED)] == []
    tested = {key.split(".")[2].removesuffix("[]") for key in stack_values.KEYS if key.startswith("services.s.")}
    assert [key for key, rule in RULES.items() if rule.shape is not None and key not in tested] == []


def test_the_validator_agrees_with_docker(answers: dict[Case, bool], tmp_path: Path) -> None:
    path = tmp_path / "stack.yml"
    wrong = []
    for case, taken in answers.items():
        path.write_text(case.text)
        errors = [item for item in validate([path]) if item.severity is stack.Severity.ERROR]
        if not taken and not errors:
            wrong.append(f"{case}: docker refuses it and we do not")
        elif taken and any("`docker stack` refuses" in item.meaning for item in errors):
            wrong.append(f"{case}: docker takes it and we say {errors}")
    assert not wrong, "\n".join(wrong)


def test_the_answers_are_those_of_docker(answers: dict[Case, bool], docker: Path) -> None:
    asked = random.Random(SEED).sample(sorted(answers), ASKED)
    assert {case: stack_values.takes(docker, case.text) for case in asked} == {case: answers[case] for case in asked}


def test_docker_takes_what_is_rendered(answers: dict[Case, bool], docker: Path, tmp_path: Path) -> None:
    path = tmp_path / "compose.yml"
    texts = []
    for case in random.Random(SEED).sample(sorted(answers), RENDERED):
        path.write_text(case.text)
        try:
            compiled = stack.compile(compose.load([path], environment={}))
        except UsageError as error:
            assert str(path) in str(error), case  # noqa: PT017
        else:
            texts.append(stack.stack_file(compiled))
            assert schema_findings(parse(texts[-1], "stack.yml")[0]) == [], case
    assert len(texts) > RENDERED / 10
    assert all(stack_values.takes(docker, text) for text in random.Random(SEED).sample(texts, ASKED))
