"""Which services have to start anew for a certificate, and when cert-manager's has to be renewed."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from openbalena.certificates import cert_manager
from openbalena.certificates.machine_volume import services_with_stale_trust
from openbalena.machine.containers import Container
from openbalena.machine.volumes import FileInfo
from openbalena.pki import store

PUT = datetime(2026, 11, 24, 10, 0, 0, 500_000, tzinfo=UTC)
BEFORE, AFTER = "2026-11-24T10:00:00.499999999Z", "2026-11-24T10:00:00.500000001Z"


def container(service: str, created: str, started: str) -> Container:
    return Container("id", f"one-{service}-1", service, "image", "running", "healthy", 0, 1, created, started, ())


@pytest.mark.parametrize(
    ("created", "started", "private", "public"),
    [
        (BEFORE, BEFORE, ["api"], ["api"]),
        # A restart reads the private CA, and cannot forget it.
        (BEFORE, AFTER, [], ["api"]),
        (AFTER, AFTER, [], []),
    ],
)
def test_what_is_older_than_the_certificate_starts_anew(
    created: str, started: str, private: list[str], public: list[str]
) -> None:
    there = [container("api", created, started), container("db", BEFORE, BEFORE), container("haproxy", BEFORE, BEFORE)]
    assert services_with_stale_trust(FileInfo("/certs/private/example.com-chain.pem", 40, PUT), there) == private
    assert services_with_stale_trust(FileInfo("/certs/public/example.com-chain.pem", 40, PUT), there) == public
    assert services_with_stale_trust(FileInfo("", 3000, PUT), there) == public, "a file of the user's own"


def test_a_certificate_is_due_in_its_last_week(tmp_path: Path) -> None:
    store.ensure_files(tmp_path, "example.com")
    chain = (tmp_path / "chain.pem").read_bytes()
    end = x509.load_pem_x509_certificate(chain).not_valid_after_utc
    assert not cert_manager.renewal_due(chain, end - timedelta(days=7, seconds=1))
    assert cert_manager.renewal_due(chain, end - timedelta(days=7) + timedelta(seconds=1))
    assert cert_manager.renewal_due(b"", end - timedelta(days=100))
