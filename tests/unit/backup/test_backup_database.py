"""A real PostgreSQL is saved while it is written to: what is restored, and the counts, are of one moment."""

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import postgres
import pytest
from restic import Ended, Machine, programs

from openbalena.backup import results, scripts
from openbalena.base.names import BACKUP_SECRETS
from openbalena.pki.database_login import Login

REPOSITORY, LOGIN, _ = BACKUP_SECRETS
OPTIONS = scripts.options("my.example.com", ["set=s1", "part=database"])


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    """With two tables of openBalena."""
    with postgres.server() as made:
        made.sql('CREATE TABLE "api key" (id integer)')
        made.sql('CREATE TABLE migration ("model name" text, "executed migrations" jsonb)')
        made.sql("""INSERT INTO migration VALUES ('resin', '["00001", "00114"]')""")
        made.sql("CREATE TABLE device AS SELECT n AS id FROM generate_series(1, 5000) n")
        yield made


@pytest.fixture
def machine(tmp_path: Path, server: postgres.Server) -> Machine:
    made = Machine(tmp_path)
    address = tmp_path / "repository"
    made.secret(REPOSITORY, f"export RESTIC_REPOSITORY='{address}' RESTIC_PASSWORD='a password'\n")
    login(made, postgres.PASSWORD)
    return made


def login(machine: Machine, password: str) -> None:
    machine.secret(LOGIN, Login("docker", password).line())
    (machine.directory / "secrets" / LOGIN).chmod(0o600)


def save(machine: Machine, server: postgres.Server, **changed: str) -> Ended:
    where = {"host": "127.0.0.1", "port": str(server.port), "database": "docker", "user": "docker"}
    return machine.run(scripts.save_database({**where, **changed}, OPTIONS))


def test_what_is_restored_was_counted_although_rows_are_added(machine: Machine, server: postgres.Server) -> None:
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            server.sql("INSERT INTO device SELECT n FROM generate_series(1, 100) n")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        ended = save(machine, server)
    finally:
        stop.set()
        writer.join()
    assert ended.code == 0 and results.created_repository(ended.lines), ended
    facts, part = results.database_facts(ended.lines), results.saved_part(ended.lines)
    server.sql("CREATE DATABASE restored")
    try:
        dump(machine, part.snapshot, server)
        assert server.sql("SELECT count(*) FROM device", "restored") == str(facts.rows["device"])
    finally:
        server.sql("DROP DATABASE restored")
    assert facts.rows["api key"] == 0 and facts.rows["device"] >= 5000
    assert facts.migrations == ("00001", "00114") and facts.server == server.sql("SHOW server_version")
    assert (part.files, part.vanished) == (1, 0) and part.bytes > 20_000


def dump(machine: Machine, snapshot: str, server: postgres.Server) -> None:
    """Restore it into the database `restored`."""
    into = f"pg_restore --exit-on-error -h 127.0.0.1 -p {server.port} -U docker -d restored"
    words = f"restic --no-cache dump {snapshot} database.dump | {into}"
    environment = {"RESTIC_REPOSITORY": str(machine.directory / "repository"), "RESTIC_PASSWORD": "a password"}
    environment |= {"PATH": programs("restic"), "PGPASSWORD": postgres.PASSWORD}
    subprocess.run(["sh", "-c", words], env={**os.environ, **environment}, check=True, timeout=60)


def test_a_database_that_refuses_is_an_error_with_its_words(machine: Machine, server: postgres.Server) -> None:
    ended = save(machine, server, database="none")
    assert ended.code == 1 and 'database "none" does not exist' in ended.lines[-1], ended
    login(machine, "another password")
    ended = save(machine, server)
    assert ended.code == 1 and "authentication failed" in ended.lines[0], ended


def test_a_dump_that_was_cut_off_is_no_result(
    machine: Machine, server: postgres.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """restic has then saved what there was, and says that all is well."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "pg_dump"
    program.write_text("#!/bin/sh\necho half; echo 'the connection was lost' >&2; exit 1\n")
    program.chmod(0o755)
    real = programs("restic")
    monkeypatch.setattr("restic.programs", lambda *names: f"{tmp_path}/bin:{real}")
    ended = save(machine, server)
    assert ended.code == 1 and ended.lines[-1] == "the connection was lost"
    assert not any(line.startswith("result") for line in ended.lines)
