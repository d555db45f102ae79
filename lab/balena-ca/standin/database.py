"""balena.db: the certificates that were issued, as cfssl keeps them (balena-io/ca-private v0.0.31, sqlite.sql)."""

import sqlite3
from contextlib import closing
from pathlib import Path

_FILE = "balena.db"


def make(directory: Path) -> None:
    """Make it unless it is there."""
    with closing(sqlite3.connect(directory / _FILE)) as database, database:
        database.execute("CREATE TABLE IF NOT EXISTS certificates (serial_number TEXT PRIMARY KEY, pem TEXT NOT NULL)")


def add(directory: Path, serial: int, pem: str) -> None:
    with closing(sqlite3.connect(directory / _FILE)) as database, database:
        database.execute("INSERT INTO certificates VALUES (?, ?)", (str(serial), pem))


def find(directory: Path, serial: int) -> str | None:
    """The certificate with that serial number, PEM."""
    with closing(sqlite3.connect(directory / _FILE)) as database:
        row = database.execute("SELECT pem FROM certificates WHERE serial_number = ?", (str(serial),)).fetchone()
    return row[0] if row else None
