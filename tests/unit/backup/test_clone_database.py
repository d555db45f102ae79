"""A dump becomes the database of another domain: real restic and PostgreSQL, with tables as the api makes them."""

from collections.abc import Iterator
from pathlib import Path

import postgres
import pytest
from restic import Ended, Machine

from openbalena.backup import clone_database, restore_scripts, restoring, results, scripts
from openbalena.backup.clone_database import UnjoinedDevice, clone_statements, unjoined_devices
from openbalena.base.errors import OperationError
from openbalena.base.names import BACKUP_SECRETS
from openbalena.pki.database_login import Login

REPOSITORY, LOGIN, _ = BACKUP_SECRETS
SCHEMA = Path(postgres.__file__).with_name("schema.sql").read_text()
OLD, NEW = "my.example.com", "it's.example.org"
DATA = restoring.origin("s1", "clone.example.org")
ROWS = """
INSERT INTO application (id, "app name", slug, uuid) VALUES (1, 'fleet', 'admin/fleet', 'a1');
INSERT INTO "service instance" VALUES (now(), now(), 7, 'vpn', '10.0.1.9', now());
INSERT INTO device (uuid, "device name", "belongs to-application", "is online", "is connected to vpn",
    "last connectivity event", "is managed by-service instance", "api heartbeat state", "modified at") VALUES
    ('d2', 'second "one"', 1, TRUE, TRUE, '2026-11-26 10:00:00+00', 7, 'online', '2026-01-01'),
    ('d1', 'first', 1, FALSE, FALSE, NULL, NULL, 'offline', '2026-01-01'),
    ('d3', NULL, NULL, TRUE, TRUE, NULL, 7, 'timeout', '2026-01-01');
INSERT INTO image (status, "is stored at-image location") VALUES
    ('success', 'registry2.my.example.com/v2/0123'), ('failed', 'registry2.my.example.com/v2/4567'),
    ('success', 'registry2.example.net/v2/89ab'), ('success', 'registry2.my.example.com.example.net/v2/cdef');
INSERT INTO task ("is executed by-handler", status) VALUES ('delete', 'queued'), ('delete', 'succeeded');
INSERT INTO migration VALUES ('resin', '["00001", "00114"]');
"""
COUNTS = {"application": 1, "device": 3, "image": 4, "service instance": 1, "task": 2, "migration": 1}
COUNTS |= {"release": 0, "api key": 0, "user": 0}


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    with postgres.server() as made:
        made.sql(SCHEMA + ROWS)
        yield made


@pytest.fixture(scope="module")
def machine(server: postgres.Server, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    made = Machine(tmp_path_factory.mktemp("machine"))
    address = made.directory / "repository"
    made.secret(REPOSITORY, f"export RESTIC_REPOSITORY='{address}' RESTIC_PASSWORD='a password'\n")
    made.secret(LOGIN, Login("docker", postgres.PASSWORD).line())
    (made.directory / "secrets" / LOGIN).chmod(0o600)
    return made


@pytest.fixture(scope="module")
def dumped(machine: Machine, server: postgres.Server) -> str:
    saved = machine.run(scripts.save_database(where(server, "docker"), scripts.options(OLD, ["set=s1"])))
    assert saved.code == 0, saved
    return results.saved_part(saved.lines).snapshot


@pytest.fixture
def empty(server: postgres.Server) -> Iterator[str]:
    server.sql("CREATE DATABASE other")
    yield "other"
    server.sql("DROP DATABASE other")


def where(server: postgres.Server, database: str) -> dict[str, str]:
    return {"host": "127.0.0.1", "port": str(server.port), "database": database, "user": "docker"}


def clone(machine: Machine, server: postgres.Server, snapshot: str, statements: str) -> Ended:
    script = restore_scripts.restore_database(where(server, "other"), snapshot, DATA, COUNTS, statements)
    return machine.run(script)


def state(machine: Machine, server: postgres.Server, data: str) -> list[str]:
    return machine.run(restore_scripts.database_state(where(server, "other"), ["docker"], data)).lines


def listed(machine: Machine, server: postgres.Server) -> tuple[UnjoinedDevice, ...]:
    asked = machine.run(restore_scripts.ask_database(where(server, "other"), clone_database.DEVICES))
    assert asked.code == 0, asked
    return unjoined_devices(asked.lines)


def test_a_clone_names_its_own_registry_and_leads_to_no_device(
    machine: Machine, server: postgres.Server, empty: str, dumped: str
) -> None:
    done = clone(machine, server, dumped, clone_statements(OLD, NEW))
    assert done.code == 0, done
    assert results.database_facts(done.lines).rows == {**COUNTS, "service instance": 0, "task": 1}
    locations = server.sql('SELECT "is stored at-image location" FROM image ORDER BY id', empty).splitlines()
    own = ["registry2.it's.example.org/v2/0123", "registry2.it's.example.org/v2/4567"]
    assert locations == [*own, "registry2.example.net/v2/89ab", "registry2.my.example.com.example.net/v2/cdef"]
    connected = """SELECT bool_or("is online" OR "is connected to vpn"), count("is managed by-service instance"),
        string_agg(DISTINCT "api heartbeat state", ','), string_agg(uuid, ',' ORDER BY uuid) FROM device"""
    assert server.sql(connected, empty) == "f|0|unknown|d1,d2,d3"
    assert server.sql("SELECT status FROM task", empty) == "succeeded"
    assert server.sql('SELECT count(*) FROM "service instance"', "docker") == "1", "the original is as it was"
    assert state(machine, server, DATA) == ["restored"] and state(machine, server, "s1") == ["other"]


def test_devices_are_listed_until_they_join_and_a_second_run_changes_nothing(
    machine: Machine, server: postgres.Server, empty: str, dumped: str
) -> None:
    assert clone(machine, server, dumped, clone_statements(OLD, NEW)).code == 0
    first, second, third = listed(machine, server)
    assert first == UnjoinedDevice("d1", "first", "admin/fleet", "")
    assert (second.uuid, second.name, second.seen[:13]) == ("d2", 'second "one"', "2026-11-26 10")
    assert third == UnjoinedDevice("d3", "", "", "")
    server.sql("UPDATE device SET \"is connected to vpn\" = TRUE WHERE uuid = 'd1'", empty)
    assert clone(machine, server, dumped, clone_statements(OLD, NEW)) == Ended(0, ["restored before"])
    assert [each.uuid for each in listed(machine, server)] == ["d2", "d3"]


def test_a_change_that_fails_leaves_the_database_empty(
    machine: Machine, server: postgres.Server, empty: str, dumped: str
) -> None:
    twice = "UPDATE image SET \"is stored at-image location\" = 'one';\n"
    failed = clone(machine, server, dumped, clone_statements(OLD, NEW) + twice)
    assert failed.code == 1 and "duplicate key" in "\n".join(failed.lines), failed
    assert state(machine, server, DATA) == ["empty"]


def test_older_tables_are_changed_too(machine: Machine, server: postgres.Server, empty: str) -> None:
    """Numbers in place of booleans, before migration 00082, and no table of tasks."""
    server.sql(SCHEMA + ROWS + "DROP TABLE task;", empty)
    for column in ("is online", "is connected to vpn"):
        alter = f'ALTER TABLE device ALTER "{column}"'
        server.sql(
            f'{alter} DROP DEFAULT, ALTER "{column}" TYPE INTEGER USING "{column}"::integer, ALTER "{column}" '
            "SET DEFAULT 0",
            empty,
        )
    server.sql(clone_statements(OLD, NEW), empty)
    assert server.sql('SELECT sum("is online" + "is connected to vpn") FROM device', empty) == "0"
    assert [each.uuid for each in listed(machine, server)] == ["d1", "d2", "d3"]


def test_a_list_that_is_cut_off_is_an_error(machine: Machine, server: postgres.Server, empty: str) -> None:
    refused = machine.run(restore_scripts.ask_database(where(server, empty), clone_database.DEVICES))
    assert refused.code == 1 and 'relation "device" does not exist' in "\n".join(refused.lines)
    with pytest.raises(OperationError, match="not complete"):
        unjoined_devices(["answers H4sI"])
