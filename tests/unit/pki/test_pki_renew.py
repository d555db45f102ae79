"""Renewing certificates under the CA that is there, and warning before they end."""

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from openbalena.base import files
from openbalena.base.errors import UsageError
from openbalena.pki import certificates, expiry, renew, store
from openbalena.pki.keys import key_in, key_pem, read_certificates, read_key

DOMAIN = "my.example.com"
KEPT = ("ca-0.pem", "ca-0-key.pem", "server-ca-0.pem", "server-ca-0-key.pem", "ca-bundle.pem", "api.key", "vpn.key")


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "pki"))


@pytest.fixture
def ending(copied: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PKI whose certificates below the CAs end in 20 days."""
    with monkeypatch.context() as patched:
        patched.setattr(certificates, "LEAF_LIFETIME", timedelta(days=20, hours=2))
        for name in ("chain.pem", "api.pem", "vpn.pem", "ocsp.pem"):
            (copied / name).unlink()
        store.ensure_files(copied, DOMAIN)
    return copied


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def changed(before: dict[str, bytes], directory: Path) -> set[str]:
    after = contents(directory)
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def test_the_server_certificate_is_new_and_the_ca_is_not(copied: Path) -> None:
    before = contents(copied)
    assert renew.renew_certificates(copied, DOMAIN) == ["chain.pem"]
    assert changed(before, copied) == {"chain.pem", "issued.sql"}
    assert (copied / "chain.pem").stat().st_mode & 0o777 == 0o600
    old, new = key_in(before["chain.pem"]), key_in((copied / "chain.pem").read_bytes())
    assert old and new and key_pem(old) != key_pem(new)
    leaf = copied.parent / "leaf.pem"
    leaf.write_bytes((copied / "chain.pem").read_bytes())
    verified: list[str | Path] = ["openssl", "verify", "-CAfile", copied / "ca-0.pem"]
    verified += ["-untrusted", copied / "server-ca-0.pem", leaf]
    assert subprocess.run(verified, capture_output=True, text=True, check=True).stdout.strip().endswith("OK")
    store.check_files(copied, DOMAIN)
    assert store.serves_own(copied)


def test_what_is_due_is_renewed_with_the_key_it_had(ending: Path) -> None:
    before = contents(ending)
    assert set(renew.renew_certificates(ending, DOMAIN)) == {"chain.pem", "api.pem", "vpn.pem", "ocsp.pem"}
    assert changed(before, ending) == {"chain.pem", "api.pem", "vpn.pem", "ocsp.pem", "issued.sql"}
    store.check_files(ending, DOMAIN)
    assert not expiry.warnings(ending)
    assert (ending / "ca-bundle.pem").read_bytes() in (ending / "vpn.pem").read_bytes()
    modes = {name: (ending / name).stat().st_mode & 0o777 for name in ("chain.pem", "api.pem", "vpn.pem", "ocsp.pem")}
    assert modes == {"chain.pem": 0o600, "api.pem": 0o644, "vpn.pem": 0o644, "ocsp.pem": 0o644}


def test_what_has_ended_is_renewed(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(certificates, "LEAF_LIFETIME", timedelta(minutes=1))
        for name in ("chain.pem", "vpn.pem"):
            (copied / name).unlink()
        store.ensure_files(copied, DOMAIN)
    with pytest.raises(UsageError, match=r"chain.pem: expired on .*: run ./open-balena.sh pki renew"):
        store.check_files(copied, DOMAIN)
    assert set(renew.renew_certificates(copied, DOMAIN)) == {"chain.pem", "vpn.pem"}
    store.check_files(copied, DOMAIN)


@pytest.mark.parametrize("writes", range(5))
def test_a_killed_renewal_is_finished_by_the_next(ending: Path, writes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed at each of its writes, before the new file takes the old one's place."""
    left = writes

    def dying(path: Path, content: bytes | str, mode: int = 0o644) -> None:
        nonlocal left
        if not left:
            raise KeyboardInterrupt
        left -= 1
        files.write_atomic(path, content, mode)

    with monkeypatch.context() as patched:
        patched.setattr(renew, "write_atomic", dying)
        if writes < 4:
            with pytest.raises(KeyboardInterrupt):
                renew.renew_certificates(ending, DOMAIN)
        else:
            renew.renew_certificates(ending, DOMAIN)
    store.check_files(ending, DOMAIN)
    assert "chain.pem" in renew.renew_certificates(ending, DOMAIN)
    store.check_files(ending, DOMAIN)
    assert not expiry.warnings(ending)


def test_for_a_timer_only_what_is_due_is_renewed(copied: Path) -> None:
    before = contents(copied)
    assert renew.renew_certificates(copied, DOMAIN, only_due=True) == [] and not changed(before, copied)


def test_for_a_timer_all_that_is_due_is_renewed(ending: Path) -> None:
    assert set(renew.renew_certificates(ending, DOMAIN, only_due=True)) == {
        "chain.pem",
        "api.pem",
        "vpn.pem",
        "ocsp.pem",
    }


def test_another_ca_s_certificate_is_left_alone(ending: Path, tmp_path: Path) -> None:
    store.ensure_files(tmp_path / "other", DOMAIN)
    (ending / "chain.pem").write_bytes((tmp_path / "other" / "chain.pem").read_bytes())
    assert set(renew.renew_certificates(ending, DOMAIN)) == {"api.pem", "vpn.pem", "ocsp.pem"}
    assert (ending / "chain.pem").read_bytes() == (tmp_path / "other" / "chain.pem").read_bytes()


@pytest.mark.parametrize("name", KEPT[:5])
def test_without_its_ca_nothing_is_renewed(copied: Path, name: str) -> None:
    (copied / name).unlink()
    before = contents(copied)
    with pytest.raises(UsageError, match=name.replace(".", r"\.")):
        renew.renew_certificates(copied, DOMAIN)
    assert not changed(before, copied)


def test_for_another_domain_nothing_is_renewed(copied: Path) -> None:
    before = contents(copied)
    with pytest.raises(UsageError, match="instead of the domain other.example.com"):
        renew.renew_certificates(copied, "other.example.com")
    assert not changed(before, copied)


def test_each_certificate_that_ends_soon_has_its_warning(ending: Path) -> None:
    found = expiry.warnings(ending)
    assert [Path(text.partition(" ")[0]).name for text in found] == ["chain.pem", "vpn.pem", "api.pem", "ocsp.pem"]
    assert all("expires in 20 days, on 20" in text and "run ./open-balena.sh pki renew" in text for text in found)


@pytest.mark.parametrize(("days", "warned"), [(31, False), (29, True), (-1, True)])
def test_the_warning_comes_thirty_days_before(copied: Path, days: int, warned: bool) -> None:
    end = read_certificates(copied / "api.pem")[0].not_valid_after_utc
    found = expiry.warnings(copied, end - timedelta(days=days))
    assert any("api.pem" in text for text in found) is warned
    if days < 0:
        assert all(" expired on " in text for text in found)


def test_a_ca_that_ends_is_said_to_be_no_matter_of_renewal(copied: Path) -> None:
    end = read_certificates(copied / "ca-0.pem")[0].not_valid_after_utc
    text = next(text for text in expiry.warnings(copied, end - timedelta(days=3)) if "/ca-0.pem" in text)
    assert "expires in 3 days" in text and "docs/certificates.md" in text


def test_a_damaged_file_is_a_warning_too(copied: Path) -> None:
    (copied / "vpn.pem").write_text("x")
    assert expiry.warnings(copied) == [
        f"{copied / 'vpn.pem'}: expected certificates in PEM format: restore the right file"
    ]
    assert expiry.warnings(copied / "nowhere") == []


def test_everything_that_can_end_is_listed(made: Path) -> None:
    found = {item.path.name: item for item in expiry.list_certificates(made)}
    certificates_there = {path.name for path in made.glob("*.pem") if b"BEGIN CERTIFICATE" in path.read_bytes()}
    assert found.keys() == certificates_there - {"ca-bundle.pem"}
    assert found["chain.pem"].names == (DOMAIN, f"*.{DOMAIN}", f"*.devices.{DOMAIN}")
    assert 820 < found["chain.pem"].days(datetime.now(UTC)) <= 825
    assert read_key(made / "api.key")


def test_our_own_certificate_takes_the_place_of_a_custom_one(copied: Path, tmp_path: Path) -> None:
    before = contents(copied)
    assert renew.restore_own_certificate(copied, DOMAIN) is False and not changed(before, copied)
    store.ensure_files(tmp_path / "other", DOMAIN)
    shutil.copy(tmp_path / "other" / "chain.pem", copied / "chain.pem")
    assert renew.restore_own_certificate(copied, DOMAIN) is True
    assert store.serves_own(copied) and changed(before, copied) == {"chain.pem", "issued.sql"}
    assert (copied / "chain.pem").stat().st_mode & 0o777 == 0o600
    with pytest.raises(UsageError, match=r"instead of the domain other\.org"):
        renew.restore_own_certificate(copied, "other.org")
