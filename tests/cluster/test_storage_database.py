"""The real PostgreSQL of the deployment loses its node, which comes back; and it moves to another node and back, killed
at five points on the way and once while it copies, with rows written before and between: none is lost."""

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from deployed_project import STACK, command, tool
from interrupted_move import interrupt
from log_streams import restore_log_streams
from waiting import answer, eventually

from lab.api.standin import migrations
from openbalena.base.names import release_config
from openbalena.base.project import Project
from openbalena.lab import lifecycle
from openbalena.operations.engines import default_engine
from openbalena.swarm import releases, state

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


def place(project: Project) -> str:
    """The node that has the database's volume."""
    # It is measured by a task, whose output is lost if the leader has forgotten its node's logs.
    restore_log_streams()
    shown = json.loads(tool(project, "storage", "show", "--json").stdout)["volumes"]
    return str(next(volume["node"] for volume in shown if volume["volume"] == "db-data"))


def sql(node: str, statement: str) -> str:
    """What the database says, asked where it is to run."""
    engine = next(item for item in default_engine(True).nodes if item.name == node)

    def ask() -> str:
        name = engine.docker("ps", "--quiet", "--filter", f"name={STACK}_db.", "--filter", "health=healthy").strip()
        words = ("psql", "-U", "docker", "-d", "resin", "-qtAc", statement)
        return engine.docker("exec", "--user", "postgres", name, *words).strip()

    return answer(ask)


class Table:
    """Rows that were written and committed, and have to be there for good."""

    def __init__(self) -> None:
        self.written = 0

    def write(self, node: str, what: str) -> None:
        """A thousand rows more, each with a word that says when it was written."""
        first, self.written = self.written + 1, self.written + 1000
        sql(
            node,
            f"INSERT INTO moved SELECT n, '{what}' || md5(n::text) FROM generate_series({first}, {self.written}) n",
        )
        assert self.found(node).startswith(f"{self.written}|")

    def found(self, node: str) -> str:
        """How many rows there are, and a sum of all they say."""
        return sql(node, "SELECT count(*), md5(string_agg(word, ',' ORDER BY n)) FROM moved")


@pytest.fixture
def table(deployed: Project) -> Iterator[tuple[str, Table]]:
    """The node of the database, and a table in it; afterwards both are as before."""
    home = place(deployed)
    sql(home, "CREATE TABLE moved (n integer PRIMARY KEY, word text NOT NULL)")
    try:
        yield home, Table()
    finally:
        # Also where the test failed half-way: the record says where the data is, whatever state the move is in.
        if place(deployed) != home:
            done = tool(deployed, "storage", "move", "db-data", home, "--yes")
            assert done.returncode == 0, done.stderr
        assert tool(deployed, "swarm-up").returncode == 0
        sql(home, "DROP TABLE moved")


def started_elsewhere(home: str) -> str:
    """The containers of the database, running or not, on the other nodes."""
    others = [engine for engine in default_engine(True).nodes if engine.name != home]
    return "".join(engine.docker("ps", "--all", "--quiet", "--filter", f"name={STACK}_db.") for engine in others)


def test_an_api_that_does_not_know_what_the_database_has_is_refused(deployed: Project) -> None:
    """The release of an older api is made up, of the one that runs; the database is asked in earnest."""
    with default_engine(True).client() as client:
        known = releases.read_releases(client, STACK)
        newest = known[0]
        assert newest.migrations == migrations.keys(migrations.NEWEST), "read after the deploy"
        image = newest.image("api")
        for engine in default_engine(True).nodes:
            engine.docker("tag", image.partition("@")[0], "older-api:1")
        services = newest.document["services"]
        older = replace(
            newest,
            number=newest.number + 1,
            images={name: image for name, image in newest.images.items() if name != "api"},
            document={**newest.document, "services": {**services, "api": {**services["api"], "image": "older-api:1"}}},
            migrations=[key for key in newest.migrations if key not in ("00106", "00114")],
        )
        releases.begin(client, STACK, older)
        try:
            refused = tool(deployed, "swarm-rollback", str(older.number))
        finally:
            client.configs.get(release_config(STACK, older.number)).remove()
    assert refused.returncode == 1 and "changed the database by migration 00106, of" in refused.stderr, refused.stderr


def test_a_move_killed_at_five_points_loses_no_row(deployed: Project, table: tuple[str, Table]) -> None:
    home, rows = table
    other = "node2" if home != "node2" else "node3"
    rows.write(home, "before")

    interrupt(STACK, "db-data", other, "stopping")
    rows.write(home, "after the first kill")
    interrupt(STACK, "db-data", other, "copying")
    done = tool(deployed, "swarm-up")
    assert done.returncode == 0 and "was interrupted and the volume is still where" in done.stderr, done.stderr
    rows.write(home, "after the second")

    # While it copies: what the target has is a part.
    with subprocess.Popen(
        command(deployed, "storage", "move", "db-data", other, "--yes"), stderr=subprocess.PIPE, text=True
    ) as it:
        assert it.stderr is not None
        assert any(line.startswith("copying") for line in it.stderr)
        time.sleep(1)
        it.kill()
    interrupt(STACK, "db-data", other, "recording")
    assert place(deployed) == home and not started_elsewhere(home)
    assert tool(deployed, "swarm-up").returncode == 0
    # The whole copy on the target is old from here on.
    rows.write(home, "after the third")

    interrupt(STACK, "db-data", other, "moving the label")
    done = tool(deployed, "swarm-up")
    assert done.returncode == 1 and f"storage move db-data {other}" in done.stderr, done.stderr
    assert not started_elsewhere(home), "it waits for the move's end"
    interrupt(STACK, "db-data", other, "starting")
    done = tool(deployed, "storage", "move", "db-data", other, "--yes")
    assert done.returncode == 0, done.stderr
    assert place(deployed) == other
    assert rows.found(other).startswith(f"{rows.written}|")
    rows.write(other, "after the fifth")
    complete = rows.found(other)
    verified = tool(deployed, "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr

    assert tool(deployed, "storage", "move", "db-data", home, "--yes").returncode == 0, "over the old copy there"
    assert rows.found(home) == complete


def down(node: str) -> bool:
    """Whether the managers that are left have missed it."""
    with default_engine(True).client() as client:
        return any(item.hostname == node and item.state == "down" for item in state.read_cluster(client, STACK).nodes)


def test_a_dead_node_costs_no_row_and_nothing_starts_empty_elsewhere(
    deployed: Project, table: tuple[str, Table]
) -> None:
    home, rows = table
    rows.write(home, "before the power cut")
    complete = rows.found(home)
    lifecycle.kill(home)
    try:
        eventually(f"{home} seen as down", lambda: down(home))
        # Swarm starts elsewhere at once what may run elsewhere.
        time.sleep(10)
        assert not started_elsewhere(home)
        done = tool(deployed, "swarm-up")
        assert done.returncode == 1 and home in done.stderr and "bring it back before deploying" in done.stderr
        assert not started_elsewhere(home)
    finally:
        lifecycle.start_node(home)
    assert rows.found(home) == complete
    rows.write(home, "after it")
    assert not started_elsewhere(home)
    eventually("a deployment that verify finds well", lambda: tool(deployed, "verify").returncode == 0)
