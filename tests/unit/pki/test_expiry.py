"""Whose end is warned of: that of the first certificate in a file to end, whichever it is."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from openbalena.pki import expiry

CASES = yaml.safe_load(Path(__file__).with_name("expiry.yml").read_text(encoding="utf-8"))
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(name: str, start: float, end: float) -> x509.Certificate:
    """One that begins and ends so many days from NOW."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(KEY.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(NOW + timedelta(days=start)).not_valid_after(NOW + timedelta(days=end))
    return builder.sign(KEY, SHA256())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_an_end_is_warned_of_in_time(case: dict[str, object], tmp_path: Path) -> None:
    days: list[float] = case["days left"]  # type: ignore[assignment]
    held = [certificate(f"certificate {number}", -1, end) for number, end in enumerate(days)]
    file = tmp_path / str(case["file"])
    file.write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in held))
    found = expiry.warnings(tmp_path, NOW)
    assert [f"{file} ({expiry.USES[file.name]}) {case['warning']}:" in text for text in found] == (
        [True] if case["warning"] else []
    )


def test_a_file_is_valid_from_the_latest_start_to_the_earliest_end() -> None:
    held = expiry.held_in(Path("chain.pem"), [certificate("own", -5, 80), certificate("other", -3, 40)])
    assert (held.start, held.end) == (NOW - timedelta(days=3), NOW + timedelta(days=40))
    assert held.names == ("own",) and held.days(NOW) == 40
