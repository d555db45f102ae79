"""Count how the corpus of public Compose files fares: with plain `docker stack deploy`, and with our compiler.

    .venv.dev/bin/python bench/corpus_counts.py

Writes the table in docs/compose-to-swarm.md. Needs docker CLI 28.2 and the whole corpus (scripts/corpus).
"""

import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT / "src"), str(ROOT / "tests" / "shared")]

import compose_corpus as corpus  # noqa: E402

from openbalena import compose, stack  # noqa: E402
from openbalena.base.errors import UsageError  # noqa: E402
from openbalena.base.files import write_atomic  # noqa: E402
from openbalena.stack.rule import Native, Status  # noqa: E402
from openbalena.stack.rules import RULES  # noqa: E402

PAGE = ROOT / "docs" / "compose-to-swarm.md"
TABLE = re.compile(r"(?<=<!-- counted by bench/corpus_counts\.py -->\n).*?(?=<!-- end -->\n)", re.DOTALL)
ROWS = (
    ("projects accepted", "accepted", "accepted"),
    ("projects refused without a line number", "refused", ""),
    ("projects refused with file, line and what to write instead", "", "refused"),
    ("projects that `docker compose` refuses as well", "", "not Compose"),
    ("keys kept", "kept", "kept"),
    ("keys translated", "", "translated"),
    ("keys left out or refused, each with a message", "", "told"),
    ("keys refused together with their project", "keys refused", ""),
    ("keys lost: silently, or with one line that names no service", "lost", "lost"),
)


def plain_docker(case: Any) -> bool:
    """Whether `docker stack config` accepts the project."""
    files = [argument for file in case.files for argument in ("-c", str(file))]
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **case.environment}
    done = subprocess.run(["docker", "stack", "config", *files], env=environment, capture_output=True, check=False)
    return done.returncode == 0


def keys(service: compose.Map) -> list[str]:
    """The keys with a value that has an effect."""
    effective = (key for key, value in service.items() if key in RULES and value not in (None, False, "", [], {}))
    return [key for key in effective if key != "networks" or list(service[key]) != ["default"]]


def fate(key: str, target: dict[str, Any], diagnostics: list[stack.Diagnostic]) -> str:
    """What the compiler did with a key."""
    reported = [item for item in diagnostics if item.rule.partition(".")[0] == key]
    if key in target:
        return "kept"
    if RULES[key].status is Status.TRANSLATED and all(item.severity is not stack.Severity.ERROR for item in reported):
        return "translated"
    return "told" if reported else "lost"


def _cell(counts: Counter[str], name: str) -> str:
    return str(counts[name]) if name else "–"


def main() -> int:
    """Exit code 2 unless the corpus is complete."""
    places = corpus.directories()
    if corpus.missing(places):
        print(f"error: {corpus.summary(places)}", file=sys.stderr)
        return 2
    docker: Counter[str] = Counter()
    ours: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as directory:
        for case in corpus.restore(Path(directory), places):
            accepted = plain_docker(case)
            docker["accepted" if accepted else "refused"] += 1
            try:
                environment = compose.locate(compose.Request(files=tuple(case.files)), case.environment).environment
                project = compose.load(case.files, environment=environment, profiles=["*"])
                compiled = stack.analyse(project)
            except UsageError:
                ours["not Compose"] += 1
                continue
            found = (*compiled.diagnostics, *compiled.refused)
            errors = [item for item in found if item.severity is stack.Severity.ERROR]
            ours["refused" if errors else "accepted"] += 1
            for name, service in project.services.items():
                target = compiled.document["services"][name]
                for key in keys(service):
                    ours[fate(key, target, list(compiled.diagnostics))] += 1
                    native = "kept" if RULES[key].native is Native.KEPT else "lost"
                    docker[native if accepted else "keys refused"] += 1
    rows = [f"| {title} | {_cell(docker, theirs)} | {_cell(ours, own)} |\n" for title, theirs, own in ROWS]
    table = "\n| | plain `docker stack` | compiled |\n|---|---|---|\n" + "".join(rows) + "\n"
    page, count = TABLE.subn(lambda _: table, PAGE.read_text(encoding="utf-8"))
    if not count:
        raise ValueError(f"{PAGE} has no place for the table")
    write_atomic(PAGE, page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
