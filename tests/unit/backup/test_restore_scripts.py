"""The scripts of a restore with a real restic repository and a real PostgreSQL: what is there afterwards, what an
interrupted or wrong one leaves, and that running it again completes it."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import postgres
import pytest
from restic import Ended, Machine, programs

from openbalena.backup import restore_scripts, results, scripts
from openbalena.base.names import BACKUP_SECRETS, RESTORE_MARK
from openbalena.pki.database_login import Login
from openbalena.swarm import encrypted_read

REPOSITORY, LOGIN, _ = BACKUP_SECRETS
OPTIONS = scripts.options("my.example.com", ["set=s1", "part=p"])


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    with postgres.server() as made:
        made.sql('CREATE TABLE "api key" (id serial PRIMARY KEY)')
        made.sql('CREATE TABLE migration ("model name" text, "executed migrations" jsonb)')
        made.sql("""INSERT INTO migration VALUES ('resin', '["00001", "00114"]')""")
        made.sql("CREATE TABLE device AS SELECT n AS id, repeat('x', 100) AS name FROM generate_series(1, 5000) n")
        yield made


@pytest.fixture
def empty(server: postgres.Server) -> Iterator[str]:
    """Another database on the server."""
    server.sql("CREATE DATABASE other")
    yield "other"
    server.sql("DROP DATABASE other")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    address = tmp_path / "repository"
    made.secret(REPOSITORY, f"export RESTIC_REPOSITORY='{address}' RESTIC_PASSWORD='a password'\n")
    made.secret(LOGIN, Login("docker", postgres.PASSWORD).line())
    (tmp_path / "secrets" / LOGIN).chmod(0o600)
    (tmp_path / "volumes" / "s3-data").mkdir(parents=True)
    return made


def where(server: postgres.Server, database: str) -> dict[str, str]:
    return {"host": "127.0.0.1", "port": str(server.port), "database": database, "user": "docker"}


@pytest.fixture
def dumped(machine: Machine, server: postgres.Server) -> str:
    """The snapshot of a dump."""
    saved = machine.run(scripts.save_database(where(server, "docker"), OPTIONS))
    assert saved.code == 0, saved
    return results.saved_part(saved.lines).snapshot


ROWS = {"api key": 0, "device": 5000}


def restore(
    machine: Machine, server: postgres.Server, snapshot: str, set_id: str = "s1", rows: dict[str, int] = ROWS
) -> Ended:
    return machine.run(restore_scripts.restore_database(where(server, "other"), snapshot, set_id, rows))


def state(machine: Machine, server: postgres.Server, set_id: str = "s1") -> list[str]:
    ended = machine.run(restore_scripts.database_state(where(server, "other"), ["nobody", "docker"], set_id))
    assert ended.code == 0, ended
    return ended.lines


def test_every_row_is_restored_and_a_second_run_changes_nothing(
    machine: Machine, server: postgres.Server, empty: str, dumped: str
) -> None:
    assert state(machine, server) == ["empty"]
    done = restore(machine, server, dumped)
    assert done.code == 0, done
    assert results.database_facts(done.lines).rows == {"api key": 0, "device": 5000, "migration": 1}
    assert results.database_facts(done.lines).migrations == ("00001", "00114")
    assert server.sql("SELECT count(*), sum(id) FROM device", empty) == "5000|12502500"
    assert state(machine, server) == ["restored"] and state(machine, server, "s2") == ["other"]
    server.sql("INSERT INTO device VALUES (5001, 'later')", empty)
    assert restore(machine, server, dumped) == Ended(0, ["restored before"])
    assert restore(machine, server, dumped, "s2").code == restore_scripts.OCCUPIED
    assert server.sql("SELECT count(*) FROM device", empty) == "5001"


def test_a_database_with_other_data_is_not_touched(
    machine: Machine, server: postgres.Server, empty: str, dumped: str
) -> None:
    server.sql("CREATE TABLE device (id integer)", empty)
    assert restore(machine, server, dumped) == Ended(restore_scripts.OCCUPIED, ["the database has other data"])
    assert server.sql("SELECT count(*) FROM device", empty) == "0"


def test_other_numbers_of_rows_than_the_manifest_says_leave_the_database_empty(
    machine: Machine, server: postgres.Server, empty: str, dumped: str
) -> None:
    failed = restore(machine, server, dumped, rows={"api key": 0, "device": 5001})
    assert failed.code == 1 and 'table "device" does not have the 5001 rows' in "\n".join(failed.lines), failed
    assert state(machine, server) == ["empty"]


def test_a_dump_that_is_cut_off_leaves_the_database_empty(
    machine: Machine, server: postgres.Server, empty: str, dumped: str
) -> None:
    environment = {**os.environ, "PATH": programs("restic"), "RESTIC_PASSWORD": "a password"}
    environment["RESTIC_REPOSITORY"] = str(machine.directory / "repository")
    environment["RESTIC_CACHE_DIR"] = str(machine.directory / "cache")
    cut = f"restic dump {dumped} database.dump | head -c 200000 | restic backup --json --stdin --stdin-filename "
    made = subprocess.run(
        ["sh", "-c", cut + "database.dump"], env=environment, check=True, capture_output=True, text=True, timeout=60
    )
    snapshot = made.stdout.splitlines()[-1].partition('"snapshot_id":"')[2].partition('"')[0]
    failed = restore(machine, server, snapshot)
    assert failed.code == 1 and "could not read from input file: end of file" in "\n".join(failed.lines), failed
    assert state(machine, server) == ["empty"]
    assert restore(machine, server, dumped).code == 0


def test_a_killed_restore_leaves_the_database_empty(
    machine: Machine, server: postgres.Server, empty: str, dumped: str
) -> None:
    script = restore_scripts.restore_database(where(server, "other"), dumped, "s1", ROWS)
    script = script.replace("\nstatements | ask", "\n{ statements; sleep 60; } | ask").replace("COMMIT;", "")
    environment = {**os.environ, "PATH": programs("restic", "rclone")}
    with subprocess.Popen(
        ["sh", "-c", machine.text(script)], env=environment, start_new_session=True, stdout=subprocess.DEVNULL
    ) as running:
        waiting = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE d.datname = 'other'"
        while int(server.sql(waiting)) < 3:
            assert running.poll() is None
        os.killpg(running.pid, 9)
    assert state(machine, server) == ["empty"]
    assert restore(machine, server, dumped).code == 0


def test_a_database_that_accepts_no_login_is_an_error(machine: Machine, server: postgres.Server, empty: str) -> None:
    refused = machine.run(restore_scripts.database_state(where(server, empty), ["nobody"], "s1"))
    assert refused.code == 1 and "no password supplied" in "\n".join(refused.lines), refused


def volume(machine: Machine) -> Path:
    return machine.directory / "volumes" / "s3-data"


@pytest.fixture
def stored(machine: Machine) -> str:
    """The snapshot of a volume, which is empty again."""
    place = volume(machine)
    restic = {**os.environ, "PATH": programs("restic"), "RESTIC_PASSWORD": "a password"}
    repository = str(machine.directory / "repository")
    subprocess.run(["restic", "init", "--repo", repository], env=restic, check=True, capture_output=True, timeout=60)
    (place / "bucket").mkdir()
    (place / "bucket" / "object").write_bytes(os.urandom(100000))
    (place / "bucket" / "key").write_text("secret")
    (place / "bucket" / "key").chmod(0o600)
    saved = machine.run(scripts.save_volume("s3-data", OPTIONS))
    assert saved.code == 0, saved
    machine.run(restore_scripts.empty_volumes())
    assert not list(place.iterdir())
    return results.saved_part(saved.lines).snapshot


def fill(machine: Machine, snapshot: str, set_id: str = "s1") -> Ended:
    return machine.run(restore_scripts.restore_volume("s3-data", snapshot, set_id))


def test_a_volume_is_filled_once(machine: Machine, stored: str) -> None:
    assert fill(machine, stored) == Ended(0, ["files 2"])
    assert (volume(machine) / "bucket" / "object").stat().st_size == 100000
    assert (volume(machine) / "bucket" / "key").stat().st_mode & 0o777 == 0o600
    (volume(machine) / "bucket" / "key").unlink()
    assert fill(machine, stored) == Ended(0, ["restored before"])
    assert fill(machine, stored, "s2") == Ended(restore_scripts.OCCUPIED, ["the volume has data"])
    assert not (volume(machine) / "bucket" / "key").exists()


def test_an_interrupted_one_is_completed(machine: Machine, stored: str) -> None:
    (volume(machine) / RESTORE_MARK).write_text("s1\n")
    (volume(machine) / "bucket").mkdir()
    (volume(machine) / "bucket" / "object").write_text("half")
    assert fill(machine, stored) == Ended(0, ["files 2"])
    assert (volume(machine) / "bucket" / "object").stat().st_size == 100000


def test_a_volume_with_other_data_is_not_touched(machine: Machine, stored: str) -> None:
    (volume(machine) / "other").write_text("mine")
    assert fill(machine, stored).code == restore_scripts.OCCUPIED
    assert [each.name for each in volume(machine).iterdir()] == ["other"]


def test_a_volume_whose_restore_is_forgotten_is_not_taken_for_restored(machine: Machine, stored: str) -> None:
    """Of its data a part may have been deleted since."""
    assert fill(machine, stored) == Ended(0, ["files 2"])
    (machine.directory / "volumes" / "cert-manager-data").mkdir()
    assert machine.run(restore_scripts.forget_restores()) == Ended(0, [])
    assert fill(machine, stored) == Ended(restore_scripts.OCCUPIED, ["the volume has data"])
    assert machine.run(restore_scripts.empty_volumes()) == Ended(0, [])
    assert fill(machine, stored) == Ended(0, ["files 2"])


def test_a_volume_is_inspected(machine: Machine) -> None:
    for name in ("db-data", "cert-manager-data"):
        (machine.directory / "volumes" / name / "lost+found").mkdir(parents=True)
    (volume(machine) / "bucket").mkdir()
    (volume(machine) / RESTORE_MARK).write_text("s1 done\n")
    ended = machine.run(restore_scripts.inspect_volumes())
    assert ended.code == 0, ended
    assert [line for line in ended.lines if not line.startswith("space")][1:] == [
        "mark s3-data s1 done",
        "used s3-data",
        "complete",
    ]
    assert [line.split()[1] for line in ended.lines if line.startswith("space")][0] == "/"


def test_a_volume_that_cannot_be_read_does_not_count_as_empty(machine: Machine, stored: str) -> None:
    """Root may read nothing on an NFS server."""
    (volume(machine) / "other").write_text("mine")
    unreadable = "ls() { echo 'ls: Permission denied' >&2; return 2; }\n"
    inspected = machine.run(unreadable + restore_scripts.inspect_volumes())
    assert inspected.code == 2 and "complete" not in inspected.lines, inspected
    filled = machine.run(unreadable + restore_scripts.restore_volume("s3-data", stored, "s1"))
    assert filled.code == 2, filled
    assert [each.name for each in volume(machine).iterdir()] == ["other"]


def test_the_authority_is_read_from_the_settings(machine: Machine, stored: str) -> None:
    (machine.directory / "pki").mkdir()
    (machine.directory / "pki" / "ca-0.pem").write_text("a certificate")
    subprocess.run(["tar", "-czf", "secrets/settings", "pki"], cwd=machine.directory, check=True, timeout=60)
    saved = machine.run(scripts.save_file("settings", "settings.tar.gz", OPTIONS))
    snapshot = results.saved_part(saved.lines).snapshot
    assert machine.run(restore_scripts.dump_authority(snapshot)) == Ended(0, ["a certificate"])
    recipient = encrypted_read.new_recipient()
    file = "/tmp/settings"
    sealed = machine.run(restore_scripts.dump_settings(snapshot) + recipient.script(file))
    assert sealed.code == 0, sealed
    assert recipient.content(sealed.lines) == (machine.directory / "secrets" / "settings").read_bytes()
