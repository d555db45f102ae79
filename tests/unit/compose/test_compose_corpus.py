"""On every project of the corpus, loading gives what docker-compose gives."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import compose_corpus as corpus
import oracle
import pytest

from openbalena import compose
from openbalena.base.errors import UsageError
from openbalena.compose.consistency import check_consistency

# docker-compose 2.26 does not know these yet; 2.40 loads them, and as we do.
_TOO_NEW = re.compile('Additional property (provider|image|use_api_socket|models) is|unsupported env_file format "raw"')


def ours(case: corpus.Case) -> dict[str, Any] | str:
    """The project as we load it, or our error."""
    try:
        process = {"PWD": str(case.files[0].parent), **case.environment}
        environment = compose.locate(compose.Request(files=tuple(case.files)), process).environment
        project = compose.load(case.files, environment=environment, profiles=["*"])
        check_consistency(project)
        return oracle.comparable(compose.plain(project.model), project.name)
    except UsageError as error:
        return str(error)


def test_loading_equals_docker_compose(cases: list[corpus.Case], docker_compose: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda case: oracle.config(docker_compose, case.files, case.environment), cases))
    wrong = []
    for case, theirs in zip(cases, answers, strict=True):
        mine = ours(case)
        if isinstance(theirs, str):
            if not isinstance(mine, str) and not _TOO_NEW.search(theirs):
                wrong.append(f"{case.name}: docker-compose refuses it: {theirs}")
        elif mine != oracle.comparable(theirs, theirs["name"]):
            wrong.append(f"{case.name}: {mine if isinstance(mine, str) else difference(mine, theirs)}")
    assert not wrong, "\n".join(wrong)


def difference(mine: dict[str, Any], theirs: dict[str, Any]) -> str:
    """The first services or resources that differ."""
    other = oracle.comparable(theirs, theirs["name"])
    return "; ".join(
        f"{section}.{name}: ours {mine.get(section, {}).get(name)} theirs {other.get(section, {}).get(name)}"
        for section in oracle.SECTIONS
        for name in {*mine.get(section, {}), *other.get(section, {})}
        if mine.get(section, {}).get(name) != other.get(section, {}).get(name)
    )[:2000]


def test_what_is_invalid_on_purpose_is_refused_with_its_place(cases: list[corpus.Case]) -> None:
    invalid = [case for case in cases if case.invalid]
    if not invalid:
        pytest.skip(f"none of them is here: {corpus.summary(corpus.directories())}")
    for case in invalid:
        error = ours(case)
        assert isinstance(error, str)
        assert str(case.files[-1]) in error
