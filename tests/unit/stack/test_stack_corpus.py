"""The corpus, compiled: docker accepts what comes out, compiling again changes nothing, nothing is lost silently."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from openbalena import compose, stack
from openbalena.base.errors import UsageError
from openbalena.stack.rule import Status
from openbalena.stack.rules import RULES
from openbalena.stack.validate import validate


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
