"""What a real PostgreSQL with the api's tables has that an older backup lacks."""

from collections.abc import Iterator
from pathlib import Path

import postgres
import pytest
from restic import Machine

from openbalena.backup import restore_scripts
from openbalena.backup.newer import Newer, newer_query, read_newer
from openbalena.base.errors import OperationError
from openbalena.base.names import BACKUP_SECRETS
from openbalena.pki.database_login import Login

_, LOGIN, _ = BACKUP_SECRETS
BEGUN = "2026-11-26T10:00:00+00:00"
ROWS = """
SET TIME ZONE 'Asia/Tokyo';
INSERT INTO application (id, "app name", slug, uuid) VALUES (1, 'fleet', 'admin/fleet', 'a1');
INSERT INTO device ("created at", uuid, "api heartbeat state") VALUES ('2026-11-26 09:59:59+00', 'd0', 'unknown');
INSERT INTO device ("created at", uuid, "api heartbeat state")
    SELECT timestamptz '2026-11-26 10:00:00+00' + n * interval '1 second', 'd' || n, 'unknown'
    FROM generate_series(1, 25) n;
INSERT INTO release ("created at", "belongs to-application", commit) VALUES
    ('2026-11-26 09:00:00+00', 1, 'old'), ('2026-11-26 11:00:00+00', 1, 'new');
INSERT INTO "user" ("created at", username) VALUES ('2026-11-26 09:00:00+00', 'admin');
"""


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    with postgres.server() as made:
        made.sql(Path(postgres.__file__).with_name("schema.sql").read_text() + ROWS)
        yield made


def test_what_was_created_after_the_backup_began_is_counted(server: postgres.Server, tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.secret(LOGIN, Login("docker", postgres.PASSWORD).line())
    (machine.directory / "secrets" / LOGIN).chmod(0o600)
    where = {"host": "127.0.0.1", "port": str(server.port), "database": "docker", "user": "docker"}
    asked = machine.run(restore_scripts.ask_database(where, newer_query(BEGUN)))
    assert asked.code == 0, asked
    found = read_newer(asked.lines)
    assert found.counts == {"devices": 25, "releases": 1, "API keys": 0, "users": 0}
    assert found.uuids == tuple(f"d{n}" for n in range(1, 21))
    nothing = machine.run(restore_scripts.ask_database(where, newer_query("2026-11-27T00:00:00+00:00")))
    assert str(read_newer(nothing.lines)) == ""


def test_it_is_told_in_few_words() -> None:
    counts = {"devices": 2, "releases": 0, "API keys": 4, "users": 0}
    assert str(Newer(counts, ("d1", "d2"))) == "devices 2 (d1, d2), API keys 4"
    assert str(Newer({**counts, "devices": 3}, ("d1", "d2"))) == "devices 3 (d1, d2, …), API keys 4"
    assert str(Newer({"devices": 0, "releases": 1})) == "releases 1"


def test_something_else_is_an_error() -> None:
    with pytest.raises(OperationError, match="not complete"):
        read_newer(["answers H4sI"])
