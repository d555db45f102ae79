"""What benchmarks of the whole deployment share: the demo on a lab of its own, and the table in docs/failures.md."""

import os
import platform
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from node_disk import give_disks

from openbalena.base.files import write_atomic
from openbalena.base.project import ROOT, Project
from openbalena.lab import paths

PAGE = ROOT / "docs" / "failures.md"


@contextmanager
def deployed_demo() -> Iterator[Project]:
    """The demo, deployed on a lab that is removed at the end."""
    demo = paths.directory() / "demo"
    demo.mkdir(mode=0o700, parents=True, exist_ok=True)
    program = str(ROOT / "open-balena.sh")
    try:
        give_disks("node1", "node2", "node3")
        subprocess.run([program, "demo", "--keep"], check=True)
        yield Project(directory=demo)
    finally:
        subprocess.run([program, "lab", "down"], check=False)


def write_table(script: str, head: str, rows: Sequence[str], names: Sequence[str] = ()) -> None:
    """Put the table, with the machine's properties, between the markers of `script`.

    `names` are the first cells of all rows that it may have: with them, rows that were not measured now are kept.
    """
    machine = f"{os.cpu_count()} CPUs, {platform.machine()}, Linux {platform.release()}"
    begin, end = f"<!-- written by {script} -->\n", "<!-- end -->\n"
    page = PAGE.read_text(encoding="utf-8")
    pattern = re.escape(begin) + "(.*?)" + re.escape(end)
    found = re.search(pattern, page, re.DOTALL)
    if not found:
        raise ValueError(f"{PAGE} has no place for a table of {script}")
    _, _, before = found[1].partition(head)
    table = {_first_cell(row): row for row in (*before.splitlines(keepends=True), *rows)}
    kept = [table[name] for name in names if name in table] if names else rows
    text = f"{begin}\n{machine}; three engines on that machine:\n\n{head}{''.join(kept)}\n{end}"
    write_atomic(PAGE, page.replace(found[0], text))


def _first_cell(row: str) -> str:
    return row.strip("|").partition("|")[0].strip()
