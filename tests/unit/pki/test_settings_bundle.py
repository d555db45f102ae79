"""Settings and PKI as one archive, and the marks of a deployment."""

import gzip
import io
import secrets
import shutil
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbalena.base.errors import OperationError, UsageError
from openbalena.pki import archive as bundle
from openbalena.pki import store, tokens
from openbalena.swarm import settings_store


@pytest.fixture
def deployment(made: Path, tmp_path: Path) -> Path:
    directory = tmp_path / "one"
    shutil.copytree(made, directory / "pki")
    (directory / ".env").write_text("DNS_TLD=my.example.com\n")
    (directory / ".env").chmod(0o600)
    return directory


def test_what_is_packed_comes_back(deployment: Path, tmp_path: Path) -> None:
    (deployment / "docker-compose.override.yml").write_text("services: {}\n")
    (deployment / ".env").chmod(0o666)
    (deployment / "deploy").mkdir()
    (tmp_path / "two").mkdir()
    names = bundle.unpack_archive(bundle.pack_archive(deployment, deployment / "pki"), tmp_path / "two")
    assert ".env" in names and "pki/ca-0-key.pem" in names
    for name in names:
        old, new = deployment / name, tmp_path / "two" / name
        assert old.read_bytes() == new.read_bytes() and new.stat().st_mode & 0o777 == 0o600
    assert {path.name for path in (tmp_path / "two").iterdir()} == {".env", "docker-compose.override.yml", "pki"}
    assert (tmp_path / "two" / "pki").stat().st_mode & 0o777 == 0o700
    store.check_files(tmp_path / "two" / "pki", "my.example.com")


def test_the_same_files_give_the_same_bytes(deployment: Path) -> None:
    first = bundle.pack_archive(deployment, deployment / "pki")
    (deployment / ".env").touch()
    assert bundle.pack_archive(deployment, deployment / "pki") == first
    assert len(first) < 40_000, "far below the limit"


def test_more_than_a_secret_holds_is_refused_with_the_largest_file(deployment: Path) -> None:
    (deployment / "pki" / "photo").write_bytes(secrets.token_bytes(bundle.LIMIT))
    with pytest.raises(OperationError, match=r"a Swarm secret can hold only 512000: .*pki/photo\)"):
        bundle.pack_archive(deployment, deployment / "pki")


def archive(name: str, kind: bytes = tarfile.REGTYPE) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as made:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = kind, "/etc/passwd" if kind == tarfile.SYMTYPE else ""
        made.addfile(entry)
    return gzip.compress(stream.getvalue())


@pytest.mark.parametrize(
    "name", ["../x", "/etc/x", "pki/../x", "pki/a/b", "deploy/x", "pki/.x", "pki/", "x", "pki/a\nb", "pki/\x1b[31m"]
)
def test_nothing_is_written_elsewhere(name: str, tmp_path: Path) -> None:
    with pytest.raises(OperationError, match="has an unexpected entry"):
        bundle.unpack_archive(archive(name), tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_no_link_is_followed(tmp_path: Path) -> None:
    with pytest.raises(OperationError, match="has an unexpected entry"):
        bundle.unpack_archive(archive(".env", tarfile.SYMTYPE), tmp_path)
    with pytest.raises(OperationError, match="cannot be read"):
        bundle.unpack_archive(b"no archive", tmp_path)


def marks_of(directory: Path, values: dict[str, str]) -> settings_store.StoredSettings:
    found = bundle.fingerprints(directory, values)
    return settings_store.StoredSettings(
        "id", "name", 1, "anna@laptop", found["ca"], found["tokens"], later=found["later"]
    )


def test_marks_tell_deployments_apart(made: Path, tmp_path: Path) -> None:
    values = tokens.missing_tokens({})
    ours = bundle.fingerprints(made, values)
    assert bundle.fingerprints(made, {**values, "DNS_TLD": "elsewhere"}) == ours, "settings may differ"
    settings_store.require_compatible(None, ours, "")
    settings_store.require_compatible(marks_of(made, values), ours, "")
    rotated = {**values, "VPN_GUEST_API_KEY": "another-one"}
    with pytest.raises(OperationError, match="anna@laptop .* with different tokens .*, changed since"):
        settings_store.require_compatible(marks_of(made, values), bundle.fingerprints(made, rotated), "")
    settings_store.require_compatible(marks_of(made, values), bundle.fingerprints(made, rotated), ours["tokens"])
    later = {**values, "REDIS_PASSWORD": "another-one"}
    with pytest.raises(OperationError, match="with different tokens"):
        settings_store.require_compatible(marks_of(made, values), bundle.fingerprints(made, later), ours["tokens"])
    settings_store.require_compatible(
        marks_of(made, values), bundle.fingerprints(made, later), f"{ours['tokens']}\n{ours['later']}"
    )
    settings_store.require_compatible(replace(marks_of(made, values), later=""), bundle.fingerprints(made, later), "")
    store.ensure_files(tmp_path / "other", "my.example.com")
    with pytest.raises(OperationError, match="with a different CA and different tokens"):
        settings_store.require_compatible(marks_of(tmp_path / "other", values), ours, ours["tokens"])
    with pytest.raises(UsageError, match="the CA is missing"):
        bundle.fingerprints(tmp_path, values)


@given(word=st.text(min_size=1, max_size=12))
def test_a_mark_of_a_guessable_token_depends_on_what_nobody_can_guess(word: str, made: Path) -> None:
    """The same tokens under two keys have nothing in common."""
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copy(made / "ca-0.pem", scratch)
        found = set()
        for _ in range(2):
            Path(scratch, "ca-0-key.pem").write_text(secrets.token_hex())
            found.add(bundle.fingerprints(Path(scratch), {"SUPERUSER_PASSWORD": word})["tokens"])
    assert len(found) == 2
