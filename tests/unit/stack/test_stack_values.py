"""Each key of a stack file with each kind of value: `stack validate` refuses what `docker stack config` refuses."""

import itertools
import random
from collections.abc import Iterable
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

CONTENT = (("name", "n"), ("file", "./f"), ("external", "true"), ("external", "false"), ("external", "{name: o}"),
           ("labels", "{l: m}"), ("template_driver", "golang"))  # fmt: skip
RESOURCES = {
    "networks": (("name", "n"), ("driver", "overlay"), ("driver_opts", "{o: p}"), ("ipam", "{driver: default}"),
                 ("external", "true"), ("external", "false"), ("external", "{name: o}"), ("internal", "true"),
                 ("attachable", "true"), ("labels", "{l: m}")),
    "volumes": (("name", "n"), ("driver", "d"), ("driver_opts", "{o: p}"), ("driver_opts", "{}"), ("external", "true"),
                ("external", "false"), ("external", "{name: o}"), ("labels", "{l: m}")),
    "secrets": (*CONTENT, ("driver", "d"), ("driver_opts", "{o: p}")),
    "configs": CONTENT,
}  # fmt: skip


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


def test_a_key_is_refused_in_versions_before_it_came(tmp_path: Path) -> None:
    wrong = [
        f"{case} in 3.{minor}"
        for case, first in stack_values.versions().items()
        for minor in {0, max(first - 1, 0), first, 13}
        if refuses(tmp_path / "stack.yml", case.in_version(minor)) != (minor < first)
    ]
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


def pairs(items: Iterable[tuple[str, str]]) -> list[str]:
    """The mappings of two of the items, as YAML."""
    chosen = itertools.combinations(items, 2)
    return [f"{{{one}: {value}, {other}: {second}}}" for (one, value), (other, second) in chosen if one != other]


def refuses(path: Path, text: str) -> bool:
    """Whether `stack validate` says that docker refuses something in the text."""
    path.write_text(text)
    return any("`docker stack` refuses" in item.meaning for item in validate([path]))


@pytest.mark.parametrize("section", RESOURCES)
def test_pairs_of_keys_at_the_top_level(section: str, docker: Path, tmp_path: Path) -> None:
    taken: list[str] = []
    for pair in pairs(RESOURCES[section]):
        if refuses(tmp_path / "stack.yml", f"{section}: {{a: {pair}}}\n"):
            assert not stack_values.takes(docker, f"{section}: {{a: {pair}}}\n"), pair
        else:
            taken.append(f"  a{len(taken)}: {pair}\n")
    assert stack_values.takes(docker, f"{section}:\n{''.join(taken)}"), taken


def test_pairs_of_keys_of_a_service(docker: Path, tmp_path: Path) -> None:
    keys = [(case.key.split("."), case.value) for case in stack_values.versions()]
    items = [(key[2], value) for key, value in keys if key[:2] == ["services", "s"] and len(key) == 3]
    text = "".join(f"  s{number}: {pair}\n" for number, pair in enumerate(pairs(items)))
    assert len(items) > 40
    assert not refuses(tmp_path / "stack.yml", f"services:\n{text}")
    assert stack_values.takes(docker, f"services:\n{text}")
