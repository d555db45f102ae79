"""Making the PKI: only what is missing, never over what is there, and finished by the next run."""

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openbalena.base.errors import UsageError
from openbalena.pki import certificates, store
from openbalena.pki.keys import new_key
from openbalena.settings.types import MAX_DOMAIN, TYPES

DOMAIN = "my.example.com"


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "pki"))


def test_a_second_run_changes_nothing(copied: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in copied.iterdir()}
    store.ensure_files(copied, DOMAIN)
    assert {path: path.stat().st_mtime_ns for path in copied.iterdir()} == before


def test_modes_are_tightened(copied: Path) -> None:
    copied.chmod(0o755)
    for name in ("api.key", "devices.rsa.key"):
        (copied / name).chmod(0o644)
    store.ensure_files(copied, DOMAIN)
    assert copied.stat().st_mode & 0o777 == 0o700
    assert {(copied / name).stat().st_mode & 0o777 for name in ("api.key", "devices.rsa.key")} == {0o600}


REPLACEABLE = (
    *("ocsp.pem", "api.pem", "api.kid", "api.jwks.json", "vpn.pem", "dhparam.pem", "ca-bundle.pem", "chain.pem"),
    *("devices.rsa.key.pub", "ca-0.pem", "server-ca-0.pem"),
)


@pytest.mark.parametrize("name", REPLACEABLE)
def test_a_missing_file_is_made_again_and_the_rest_stays(copied: Path, name: str) -> None:
    before = contents(copied)
    (copied / name).unlink()
    if name in ("ca-0.pem", "server-ca-0.pem"):
        # What it issued stands there: a new CA certificate is not made behind the user's back.
        with pytest.raises(UsageError, match=f"{name}: missing, although"):
            store.ensure_files(copied, DOMAIN)
        return
    store.ensure_files(copied, DOMAIN)
    after = contents(copied)
    assert after.keys() == before.keys()
    assert {other for other in before if before[other] != after[other]} <= {name, "issued.sql"}


@pytest.mark.parametrize("seed", range(12))
def test_a_killed_run_is_finished_by_the_next(tmp_path: Path, seed: int) -> None:
    """The process dies at the n-th file, for good; whatever it left, the next run completes it."""
    directory = tmp_path / "pki"
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from openbalena.pki import store\n"
        "real, left = os.replace, [int(sys.argv[2])]\n"
        "def replace(source, target):\n"
        "    if not left[0]: os._exit(9)\n"
        "    left[0] -= 1\n"
        "    real(source, target)\n"
        "os.replace = replace\n"
        f"store.ensure_files(Path(sys.argv[1]), {DOMAIN!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", script, directory, str(seed)], timeout=60, env=os.environ)
    assert done.returncode == 9
    kept = {name: data for name, data in contents(directory).items() if not name.startswith(".")}
    assert len(kept) == seed
    store.ensure_files(directory, DOMAIN)
    after = contents(directory)
    assert {name: after[name] for name in kept} == kept
    store.check_files(directory, DOMAIN)


@pytest.mark.parametrize(
    ("key", "certificate"),
    [
        ("ca-0-key.pem", "ca-0.pem"),
        ("server-ca-0-key.pem", "server-ca-0.pem"),
        ("ocsp-key.pem", "ocsp.pem"),
        ("api.key", "api.pem"),
        ("vpn.key", "vpn.pem"),
    ],
)
def test_a_key_of_another_certificate_is_refused(copied: Path, key: str, certificate: str) -> None:
    before = contents(copied)
    (copied / key).write_bytes((copied / ("vpn.key" if key != "vpn.key" else "api.key")).read_bytes())
    with pytest.raises(UsageError, match=f"{certificate}: does not match the key in {key}: restore the right file"):
        store.ensure_files(copied, DOMAIN)
    (copied / key).unlink()
    with pytest.raises(UsageError, match=f"{certificate}: its key {key} is missing"):
        store.ensure_files(copied, DOMAIN)
    (copied / key).write_bytes(b"not a key")
    with pytest.raises(UsageError, match=f"{key}: expected an unencrypted EC or RSA private key"):
        store.ensure_files(copied, DOMAIN)
    assert contents(copied) == before | {key: b"not a key"}


def test_another_domain_is_refused_with_what_to_do(copied: Path) -> None:
    before = contents(copied)
    with pytest.raises(UsageError, match="restore DNS_TLD, or delete"):
        store.ensure_files(copied, "other.example.com")
    assert contents(copied) == before
    for name in ("api.pem", "vpn.pem", "chain.pem"):
        (copied / name).unlink()
    # The server CA may not sign for it either; the root, which devices trust, may sign another.
    with pytest.raises(
        UsageError,
        match="/pki: for my.example.com instead of the .*: server-ca-0.pem, ca-bundle.pem, ocsp.pem: restore",
    ):
        store.ensure_files(copied, "other.example.com")
    for name in ("server-ca-0.pem", "ca-bundle.pem", "ocsp.pem"):
        (copied / name).unlink()
    store.ensure_files(copied, "other.example.com")
    # The key stays, so tokens that the api signed go on being valid.
    assert (copied / "api.kid").read_bytes() == before["api.kid"]
    assert (copied / "ca-0.pem").read_bytes() == before["ca-0.pem"]


def test_a_certificate_of_another_ca_is_refused(copied: Path, tmp_path: Path) -> None:
    store.ensure_files(tmp_path / "other", DOMAIN)
    for name in ("vpn.pem", "vpn.key"):
        shutil.copy(tmp_path / "other" / name, copied / name)
    with pytest.raises(UsageError, match="vpn.pem: was not issued by server-ca-0.pem"):
        store.ensure_files(copied, DOMAIN)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("api.kid", "ABCD", "not the identifier of api.key"),
        ("api.jwks.json", "{", "not the public half of api.key"),
        ("api.jwks.json", "[]", "not the public half of api.key"),
        ("ca-0.pem", "x", "expected certificates in PEM form"),
        ("ca-bundle.pem", "x", "expected certificates in PEM form"),
    ],
)
def test_files_that_do_not_fit_are_refused(copied: Path, name: str, text: str, words: str) -> None:
    (copied / name).write_text(text)
    with pytest.raises(UsageError, match=words):
        store.ensure_files(copied, DOMAIN)


def test_an_ended_certificate_is_refused(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "LEAF_LIFETIME", timedelta(minutes=1))
    (copied / "vpn.pem").unlink()
    store.ensure_files(copied, DOMAIN)
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    with pytest.raises(UsageError, match=rf"vpn.pem: expired on ({today}|\d)"):
        store.ensure_files(copied, DOMAIN)


def test_the_public_devices_key_may_stand_alone(made: Path, tmp_path: Path) -> None:
    (tmp_path / "pki").mkdir()
    shutil.copy(made / "devices.rsa.key.pub", tmp_path / "pki")
    store.ensure_files(tmp_path / "pki", DOMAIN)
    assert not (tmp_path / "pki" / "devices.rsa.key").exists()


def test_an_own_certificate_is_served_and_trusted_by_its_own_ca(copied: Path, tmp_path: Path) -> None:
    store.ensure_files(tmp_path / "other", DOMAIN)
    chain = (tmp_path / "other" / "chain.pem").read_text()
    certificate, _, rest = chain.partition("-----BEGIN EC PRIVATE KEY-----")
    key = (
        "-----BEGIN EC PRIVATE KEY-----"
        + rest.partition("-----END EC PRIVATE KEY-----")[0]
        + "-----END EC PRIVATE KEY-----\n"
    )
    store.use_certificate(copied, certificate.encode(), key.encode())
    assert (copied / "chain.pem").read_text() == certificate + key
    assert (copied / "chain.pem").stat().st_mode & 0o777 == 0o600
    store.ensure_files(copied, DOMAIN)
    assert "ROOT_CA" not in store.public_values(copied)
    with pytest.raises(UsageError, match="HAPROXY_KEY"):
        store.use_certificate(copied, certificate.encode(), (copied / "vpn.key").read_bytes())


def test_before_config_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ca-bundle.pem: missing: run ./open-balena.sh config"):
        store.public_values(tmp_path)


LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)


@given(st.lists(LABELS, min_size=1, max_size=8), st.from_regex(r"[a-z]{2,63}", fullmatch=True))
@settings(max_examples=40, deadline=None)
def test_certificates_for_any_domain(labels: list[str], top: str) -> None:
    """openssl takes the certificate for the domain's names, however long the domain is."""
    domain = ".".join([*labels, top])[-MAX_DOMAIN:].lstrip("-.")
    if not TYPES["domain"].matches(domain):
        return
    root_key, ca_key, key = new_key(), new_key(), new_key()
    root = certificates.Authority(certificates.root_ca(root_key, domain), root_key)
    issuer = certificates.Authority(certificates.server_ca(ca_key, domain, root), ca_key)
    own = certificates.server(key, [domain, f"*.{domain}", f"*.devices.{domain}"], domain, issuer)
    own.verify_directly_issued_by(issuer.certificate)
    issuer.certificate.verify_directly_issued_by(root.certificate)
    assert own.subject != issuer.certificate.subject != root.certificate.subject
