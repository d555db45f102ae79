"""Compose files with random mistakes: each compiles, or is refused with a message."""

from pathlib import Path

import pytest
from compose_mutations import corpus_sources, is_compiled, mutant, own_sources

# bench/mutations.py makes a million.
MUTATIONS = 20_000


@pytest.mark.timeout(1200)
def test_no_mutation_makes_it_crash(tmp_path: Path) -> None:
    # Without the corpus all are of our own files.
    sources = [*own_sources(), *corpus_sources(tmp_path)]
    path = tmp_path / "compose.yml"
    compiled = sum(is_compiled(path, mutant(sources, number), number) for number in range(MUTATIONS))
    assert MUTATIONS / 10 < compiled < MUTATIONS * 9 / 10
