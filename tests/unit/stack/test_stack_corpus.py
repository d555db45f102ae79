"""The corpus, compiled: docker accepts what comes out, compiling again changes nothing, nothing is lost silently."""

import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from openbalena import compose, stack
from openbalena.base.errors import UsageError
from openbalena.compose.yaml_nodes import parse
from openbalena.stack.rule import Status
from openbalena.stack.rules import RULES
from openbalena.stack.validate import validate

MUTATIONS = int(os.environ.get("OPEN_BALENA_MUTATIONS", "20000"))
SEED = 20261123


@pytest.fixture(scope="module")
def projects(cases: list[Any]) -> dict[str, compose.Project]:
    """Every project that loads, by name."""
    loaded = {}
    for case in cases:
        environment = compose.locate(compose.Request(files=tuple(case.files)), case.environment).environment
        try:
            project = compose.load(case.files, environment=environment, profiles=["*"])
            if project.model:
                loaded[case.name] = project
        except UsageError as error:
            assert ".yml:" in str(error) or ".yaml:" in str(error), error  # noqa: PT017
    return loaded


def test_docker_accepts_every_compiled_stack(
    projects: dict[str, compose.Project], accepted: Callable[..., str]
) -> None:
    for name, project in projects.items():
        compiled = stack.analyse(project)
        accepted(stack.stack_file(compiled))
        assert all(str(item.position.file).startswith("/") for item in compiled.diagnostics), name


def test_compiling_a_compiled_stack_changes_nothing(projects: dict[str, compose.Project], compiled: Any) -> None:
    for name, project in projects.items():
        once = stack.analyse(project)
        again = compiled(stack.stack_file(once), environment={"COMPOSE_PROJECT_NAME": once.name})
        assert _comparable(again) == _comparable(once), name
        if not any(item.severity is stack.Severity.ERROR for item in once.diagnostics):
            left = (item for item in again.diagnostics if item.severity is not stack.Severity.WARNING)
            assert [item for item in left if item.rule not in ("volumes.bind", "volumes.local")] == [], name


def _comparable(compiled: stack.Compiled) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(yaml.safe_dump(dict(compiled.document)))
    for section in ("secrets", "configs"):
        for described in document.get(section, {}).values():
            described.pop("file", None)
    return document


def test_nothing_is_lost_silently(projects: dict[str, compose.Project]) -> None:
    """Each key of each service is in the stack, or became something else there, or something is said of it."""
    for name, project in projects.items():
        compiled = stack.analyse(project)
        for service, source in project.services.items():
            for key, value in source.items():
                target = compiled.document["services"][service]
                told = {item.rule.partition(".")[0] for item in compiled.diagnostics}
                translated = RULES[key].status is Status.TRANSLATED if key in RULES else key.startswith("x-")
                empty = value in (None, False, "", []) or value == {} or (key, value) == ("networks", {"default": None})
                assert key in target or key in told or translated or empty, f"{name}: {service}.{key}"


def test_the_validator_refuses_what_docker_refuses(cases: list[Any], docker: Path) -> None:
    wrong = []
    for case in cases:
        files = [argument for file in case.files for argument in ("-c", str(file))]
        done = subprocess.run(
            [docker, "stack", "config", *files], env={"HOME": "/nonexistent", **case.environment}, capture_output=True,
            text=True, timeout=60, check=False,
        )  # fmt: skip
        errors = [item for item in validate(case.files) if item.severity is stack.Severity.ERROR]
        refusals = [item for item in errors if "`docker stack` refuses" in item.meaning]
        if done.returncode and not errors:
            wrong.append(f"{case.name}: docker refuses it and we do not: {done.stderr}")
        elif not done.returncode and refusals:
            wrong.append(f"{case.name}: docker takes it and we say: {refusals[0]}")
    assert not wrong, "\n".join(wrong)


def test_no_mutation_makes_it_crash(cases: list[Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    sources = [(case.files[-1], case.files[-1].read_text().split("\n")) for case in cases]
    chance = random.Random(SEED)
    for number in range(MUTATIONS):
        path, lines = sources[chance.randrange(len(sources))]
        mutant = path.with_name(".mutant.yml")
        mutant.write_text("\n".join(mutated(list(lines), chance)))
        try:
            project = compose.load([mutant], environment={"A": "v"}, profiles=["*"], interpolate=bool(number % 2))
            text = stack.stack_file(stack.analyse(project))
        except UsageError as error:
            assert str(mutant.parent) in str(error) or ": " in str(error), f"{number}: {error}"  # noqa: PT017
        else:
            parse(text, "stack.yml")
        if number % 4 == 0:
            validate([mutant])
        mutant.unlink()


_FRAGMENTS = (
    "null", "[]", "{}", "5", "-1", "true", "''", "'x'", "${A}", "${A:-b}", "$", "!reset null", "!override []", "- x",
    "a: b", "<<: *x", "&a", "*a", "1.5", "0400", "'80:80'", "[1, {a: b}]", "{a: [1]}", "  ", ":", "-", "x-a: 1",
    "'1:2:3:4'", "- {}", "- null", "? a", "%", "@", "\t", "'${A'", "1e400", ".nan", "9" * 400, "\x00", "\u2028", "-5",
)  # fmt: skip


def mutated(lines: list[str], chance: random.Random) -> list[str]:
    """A few lines taken out, doubled, broken or given another value."""
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        index = chance.randrange(len(lines)) if lines else 0
        line = lines[index] if lines else ""
        kind = chance.random()
        if not lines or kind < 0.15:
            lines.insert(index, chance.choice(_FRAGMENTS))
        elif kind < 0.3:
            del lines[index]
        elif kind < 0.7 and ":" in line:
            lines[index] = f"{line.split(':')[0]}: {chance.choice(_FRAGMENTS)}"
        elif kind < 0.8:
            indent = line[: len(line) - len(line.lstrip())]
            lines[index] = indent + chance.choice(["", "  ", "- "]) + chance.choice(_FRAGMENTS)
        else:
            at = chance.randrange(len(line) + 1)
            lines[index] = line[:at] + chance.choice(_FRAGMENTS) + line[at:]
    return lines
