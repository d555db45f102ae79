"""The real PostgreSQL of the deployment moves to another node and back, interrupted once on the way: no row is lost."""

import json
import subprocess
import time
from collections.abc import Iterator

import pytest

from openbalena.cluster import engine as engines
from openbalena.project import ROOT, Project

pytestmark = pytest.mark.cluster


def tool(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [ROOT / "open-balena.sh", "--lab", "--project-directory", project.directory, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)


def place(project: Project) -> str:
    """The node that has the database's volume."""
    shown = json.loads(tool(project, "storage", "show", "--json").stdout)["volumes"]
    return next(volume["node"] for volume in shown if volume["volume"] == "db-data")


def sql(node: str, statement: str) -> str:
    """What the database says, asked where it is to run."""
    engine = next(item for item in engines.current(True).nodes if item.name == node)
    end = time.monotonic() + 60
    while True:
        try:
            name = engine.docker(
                "ps", "--quiet", "--filter", "name=openbalena_db.", "--filter", "health=healthy"
            ).strip()
            command = ("psql", "-U", "docker", "-d", "resin", "-qtAc", statement)
            return engine.docker("exec", "--user", "postgres", name, *command).strip()
        except engines.OperationError:
            if time.monotonic() >= end:
                raise
            time.sleep(1)


@pytest.fixture
def rows(deployed: Project) -> Iterator[str]:
    """The node of the database, with a table of 1,000 rows; afterwards both are as before."""
    home = place(deployed)
    sql(home, "CREATE TABLE moved AS SELECT n, md5(n::text) AS word FROM generate_series(1, 1000) AS n")
    try:
        yield home
    finally:
        if place(deployed) != home:
            assert tool(deployed, "storage", "move", "db-data", home).returncode == 0
        sql(home, "DROP TABLE moved")


def test_the_database_moves_with_all_its_rows(deployed: Project, rows: str) -> None:
    question = "SELECT count(*), md5(string_agg(word, ',' ORDER BY n)) FROM moved"
    before = sql(rows, question)
    assert before.startswith("1000|")
    other = "node2" if rows != "node2" else "node3"
    command = [ROOT / "open-balena.sh", "--lab", "--project-directory", deployed.directory]
    with subprocess.Popen([*command, "storage", "move", "db-data", other], stderr=subprocess.PIPE, text=True) as begun:
        assert begun.stderr is not None
        assert any(line.startswith("copying") for line in begun.stderr)
        begun.kill()
    done = tool(deployed, "storage", "move", "db-data", other)
    assert done.returncode == 0, done.stderr
    assert place(deployed) == other
    assert sql(other, question) == before
    verified = tool(deployed, "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
