"""For tests over the corpus: the fixture `cases`. Each such test runs on what is here, and is skipped on what is not.

A conftest.py that imports both names provides it.
"""

import compose_corpus as corpus
import pytest


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`[here]` where there is something to test on; `[missing]`, skipped with the count, where something is missing."""
    if "cases" not in metafunc.fixturenames:
        return
    places = corpus.directories()
    missing = pytest.param("missing", marks=pytest.mark.skip(reason=corpus.summary(places)))
    parts = [*(["here"] if corpus.here(places) else []), *([missing] if corpus.missing(places) else [])]
    metafunc.parametrize("cases", parts, indirect=True, scope="session")


@pytest.fixture(scope="session")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[corpus.Case]:
    """Every project of which all files are here, restored. Fails on a corrupt file."""
    return corpus.restore(tmp_path_factory.mktemp("corpus"), corpus.directories())
