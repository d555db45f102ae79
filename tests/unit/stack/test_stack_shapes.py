"""What files of unusual or wrong shapes become, and what is said of them; shapes.yml has them."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from openbalena import compose, stack
from openbalena.base.errors import UsageError
from openbalena.stack.validate import validate

Case = dict[str, Any]
CASES: list[Case] = yaml.safe_load(Path(__file__).with_name("shapes.yml").read_text())
REFUSED = [case for case in CASES if "refused" in case]


def written(case: Case, directory: Path) -> Path:
    path = directory / "compose.yml"
    text = case["file"] if "file" in case else f"services:\n  s:\n    image: nginx:1\n    {case['service']}\n"
    path.write_text(text)
    return path


def name(case: Case) -> str:
    return str(case.get("service", case.get("file")))


def begins(said: list[str], beginnings: list[str], path: Path) -> bool:
    """Whether there are as many messages as beginnings, and each begins so, after the file's name."""
    return len(said) == len(beginnings) and all(
        message.startswith(f"{path}:{beginning}") for message, beginning in zip(said, beginnings, strict=True)
    )


@pytest.mark.parametrize("case", REFUSED, ids=name)
def test_a_wrong_shape_is_refused_with_its_place(case: Case, tmp_path: Path) -> None:
    path = written(case, tmp_path)
    with pytest.raises(UsageError) as caught:
        stack.compile(compose.load([path], environment={}))
    assert begins([str(caught.value).partition("\n")[0]], [case["refused"]], path), str(caught.value)


@pytest.mark.parametrize("case", [case for case in CASES if "document" in case], ids=name)
def test_an_unusual_shape_becomes_what_compose_makes_of_it(case: Case, tmp_path: Path) -> None:
    path = written(case, tmp_path)
    compiled = stack.compile(compose.load([path], environment={}))
    if "file" in case:
        assert compiled.document == case["document"]
    else:
        assert compiled.document["services"]["s"] == {"image": "nginx:1", **case["document"]}
    # Where the data is, which test_stack_nodes.py covers, is said of each of these volumes.
    said = [str(item) for item in compiled.diagnostics if item.rule not in ("volumes.bind", "volumes.local")]
    assert begins(said, case.get("says", []), path), compiled.diagnostics


@pytest.mark.parametrize("case", CASES, ids=name)
def test_the_validator_finds_it_at_the_same_place(case: Case, tmp_path: Path) -> None:
    path = written(case, tmp_path)
    errors = [item for item in validate([path]) if item.severity is stack.Severity.ERROR]
    if "validated" in case:
        assert begins([str(item) for item in errors], case["validated"], path), errors
    elif "refused" in case:
        place = case["refused"].partition(": ")[0]
        assert f"{path}:{place}" in [str(item.position) for item in errors], errors
    else:
        assert errors == []


@pytest.mark.parametrize("case", REFUSED, ids=name)
def test_docker_refuses_it_as_well_or_takes_it_silently(case: Case, tmp_path: Path, docker: Path) -> None:
    path = written(case, tmp_path)
    done = subprocess.run(
        [docker, "stack", "config", "-c", path], env={"HOME": str(tmp_path)}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert ("takes" if done.returncode == 0 else "refuses") == case.get("docker", "refuses"), done.stderr
