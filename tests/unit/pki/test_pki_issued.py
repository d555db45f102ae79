"""What balena-ca's database is told, by the tables and the commands of the lab's balena-ca."""

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from openbalena.base.project import ROOT
from openbalena.pki import certificates, ocsp_records, phases, store
from openbalena.pki.keys import certificate_pem, read_certificates, read_key

DOMAIN = "my.example.com"
LAB = ROOT / "lab" / "balena-ca"


@pytest.fixture
def at(made: Path, tmp_path: Path) -> Path:
    """A copy of the PKI with a database of balena-ca's beside it."""
    copied = Path(shutil.copytree(made, tmp_path / "pki"))
    with sqlite3.connect(copied / "balena.db") as database:
        database.executescript((LAB / "sqlite.sql").read_text())
    return copied


def told(directory: Path) -> list[tuple[str, str]]:
    """Serial number and status of each row, after sqlite3 was given the file."""
    with sqlite3.connect(directory / "balena.db") as database:
        database.executescript((directory / "issued.sql").read_text())
        return database.execute("SELECT serial_number, status FROM certificates").fetchall()


def cfssl(directory: Path, command: str, *words: str) -> subprocess.CompletedProcess[str]:
    arguments: list[str | Path] = [sys.executable, "-B", LAB / "cfssl", command]
    arguments += ["-db-config", LAB / "sqlite.json", *words]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(LAB)}
    return subprocess.run(
        arguments, cwd=directory, env=environment, capture_output=True, text=True, check=False, timeout=30
    )


def refreshed(directory: Path) -> subprocess.CompletedProcess[str]:
    responder = ("-responder", "ocsp.pem", "-responder-key", "ocsp-key.pem")
    return cfssl(directory, "ocsprefresh", "-ca", "server-ca-0.pem", *responder)


def serial(path: Path) -> str:
    return str(read_certificates(path)[0].serial_number)


def test_every_server_s_certificate_has_an_answer(at: Path) -> None:
    wanted = {(serial(at / name), "good") for name in ("api.pem", "vpn.pem", "chain.pem")}
    assert set(told(at)) == wanted == set(told(at)), "again changes nothing"
    done = refreshed(at)
    assert done.returncode == 0, done.stderr
    assert len(cfssl(at, "ocspdump").stdout.split()) == 3


def test_rows_of_another_ca_do_not_stop_the_refresh_and_are_kept(at: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    store.ensure_files(other, DOMAIN)
    rows = ocsp_records.records_sql(other).decode()
    with sqlite3.connect(at / "balena.db") as database:
        database.executescript(rows[rows.index("INSERT OR IGNORE") :].replace("COMMIT;", ""))
    assert refreshed(at).returncode != 0, "as cfssl's"
    assert serial(other / "api.pem") not in {row[0] for row in told(at)}
    assert refreshed(at).returncode == 0
    with sqlite3.connect(at / "balena.db") as database:
        kept = database.execute("SELECT serial_number FROM certificates_of_other_authorities").fetchall()
    assert (serial(other / "api.pem"),) in kept and len(kept) == 3


def test_another_ca_s_certificate_is_no_row(at: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    store.ensure_files(other, DOMAIN)
    chain = (other / "chain.pem").read_bytes()
    begin = chain.index(b"-----BEGIN EC PRIVATE KEY-----")
    store.use_certificate(at, chain[:begin], chain[begin:])
    assert {row[0] for row in told(at)} == {serial(at / "api.pem"), serial(at / "vpn.pem")}


def test_a_file_that_was_left_behind_is_made_anew(at: Path) -> None:
    right = (at / "issued.sql").read_bytes()
    (at / "issued.sql").write_text("BEGIN;")
    ocsp_records.write_records(at)
    assert (at / "issued.sql").read_bytes() == right


def test_a_row_has_all_that_cfssl_reads(at: Path) -> None:
    (at / "vpn.pem").unlink()
    ocsp_records.write_records(at)
    told(at)
    certificate = read_certificates(at / "chain.pem")[0]
    with sqlite3.connect(at / "balena.db") as database:
        rows = database.execute("SELECT serial_number, common_name, sans, expiry, not_before FROM certificates")
        found = {row[0]: row[1:] for row in rows}
    assert found.keys() == {serial(at / "api.pem"), serial(at / "chain.pem")}, "a missing certificate has no row"
    assert found[serial(at / "chain.pem")] == (
        DOMAIN,
        f'["{DOMAIN}","*.{DOMAIN}","*.devices.{DOMAIN}"]',
        f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%S}+00:00",
        f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M:%S}+00:00",
    )


def test_a_name_that_is_too_long_for_the_subject_leaves_it_empty(at: Path) -> None:
    name = f"{'a' * 60}.{DOMAIN}"
    issuer = phases.authority(at, "server-ca-0")
    key = read_key(at / "api.key")
    (at / "api.pem").write_bytes(certificate_pem(certificates.server(key, [name], DOMAIN, issuer)))
    ocsp_records.write_records(at)
    assert (serial(at / "api.pem"), "good") in told(at)
    with sqlite3.connect(at / "balena.db") as database:
        query = "SELECT common_name, sans FROM certificates WHERE serial_number = ?"
        assert database.execute(query, (serial(at / "api.pem"),)).fetchall() == [("", f'["{name}"]')]


def test_a_file_that_is_current_is_not_written_again(at: Path) -> None:
    before = (at / "issued.sql").stat().st_ino
    ocsp_records.write_records(at)
    assert (at / "issued.sql").stat().st_ino == before
    (at / "issued.sql").unlink()
    assert not ocsp_records.is_current(at)
    ocsp_records.write_records(at)
    assert ocsp_records.is_current(at)
