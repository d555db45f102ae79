"""Make a million random mistakes in Compose files, and compile each file; no one may make the compiler crash.

    .venv.dev/bin/python bench/mutations.py [COUNT [FIRST]]

The mutants have the numbers from FIRST (default: 0) on, and the same number is the same mutant while the sources, our
tests' files and the corpus, are the same. A crash is printed with its number and ends in exit status 1.
"""

import sys
import tempfile
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT / "src"), str(ROOT / "tests" / "shared")]

from compose_mutations import corpus_sources, is_compiled, mutant, own_sources  # noqa: E402

COUNT, REPORTED = 1_000_000, 50_000


def main() -> int:
    """Exit status 1 if one of them crashed."""
    count, first = [*map(int, sys.argv[1:]), *(COUNT, 0)[len(sys.argv) - 1 :]]
    compiled = crashed = 0
    with tempfile.TemporaryDirectory() as directory:
        sources = [*own_sources(), *corpus_sources(Path(directory))]
        print(f"{len(sources)} files", flush=True)
        path = Path(directory) / "compose.yml"
        for number in range(first, first + count):
            try:
                compiled += is_compiled(path, mutant(sources, number), number)
            except Exception:
                crashed += 1
                print(f"mutant {number}:\n{traceback.format_exc()}", flush=True)
            if (done := number - first + 1) % REPORTED == 0 or done == count:
                print(
                    f"{done} mutants: {compiled} compiled, {done - compiled - crashed} refused, {crashed} crashed",
                    flush=True,
                )
    return int(crashed > 0)


if __name__ == "__main__":
    sys.exit(main())
