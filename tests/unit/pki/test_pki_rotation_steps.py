"""One step of a CA rotation: its journal, a step that fails, and the moment at which the old root expires."""

import json
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from openbalena.pki import ca_rotation, expiry, ocsp_records, phases, store
from openbalena.pki.directory import ROTATION_JOURNAL, STAGE
from openbalena.pki.keys import read_certificates
from openbalena.pki.phases import RotationPhase

DOMAIN = "my.example.com"


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "pki"))


def clock(monkeypatch: pytest.MonkeyPatch, module: object, moment: datetime) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return moment

    monkeypatch.setattr(module, "datetime", Clock)


def test_a_journal_is_applied_again_after_a_kill(tmp_path: Path) -> None:
    """The first run has deleted one of the two files, and written one."""
    (tmp_path / "ca-next.pem").write_text("old")
    (tmp_path / "vpn.pem").write_text("new")
    (tmp_path / ".api.key.12345678").write_text("half")
    changes = {"ca-next.pem": None, "ca-cross.pem": None, "vpn.pem": "new", "api.key": "new", "api.pem": "new"}
    (tmp_path / ROTATION_JOURNAL).write_text(json.dumps(changes))
    assert ca_rotation.pending_step(tmp_path)
    ca_rotation.finish_step(tmp_path)
    assert not ca_rotation.pending_step(tmp_path)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"vpn.pem": 0o644, "api.key": 0o600, "api.pem": 0o644}
    assert {path.read_text() for path in tmp_path.iterdir()} == {"new"}


def test_a_step_that_fails_changes_nothing(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(directory: Path) -> None:
        raise OSError("no space left on device")

    before = {path.name: path.read_bytes() for path in copied.iterdir()}
    monkeypatch.setattr(ocsp_records, "write_records", full)
    (copied / STAGE).mkdir()
    (copied / STAGE / "api.pem").write_text("of a killed run")
    with pytest.raises(OSError, match="no space"):
        ca_rotation.advance_rotation(copied, DOMAIN)
    assert {path.name: path.read_bytes() for path in copied.iterdir()} == before


@pytest.mark.parametrize(("seconds", "crossed"), [(-1, True), (0, False)])
def test_an_expired_root_signs_no_cross_certificate(
    seconds: int, crossed: bool, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = read_certificates(copied / "ca-0.pem")[0].not_valid_after_utc
    ca_rotation.advance_rotation(copied, DOMAIN)
    clock(monkeypatch, ca_rotation, end + timedelta(seconds=seconds))
    assert ca_rotation.advance_rotation(copied, DOMAIN) is RotationPhase.ISSUING
    assert (copied / "ca-cross.pem").exists() is crossed
    # The next step has it removed, whether it is there or not.
    assert ca_rotation.advance_rotation(copied, DOMAIN) is RotationPhase.DROPPED
    assert not (copied / "ca-cross.pem").exists()


@pytest.mark.parametrize(("seconds", "sent"), [(-1, "ca-cross"), (0, "ca-0")])
def test_servers_send_the_cross_certificate_until_it_expires(
    seconds: int, sent: str, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        ca_rotation.advance_rotation(copied, DOMAIN)
    end = read_certificates(copied / "ca-cross.pem")[0].not_valid_after_utc
    clock(monkeypatch, phases, end + timedelta(seconds=seconds))
    assert phases.intermediates(copied) == b"".join(
        (copied / f"{stem}.pem").read_bytes() for stem in ("server-ca-0", sent)
    )


def test_a_custom_certificate_outlives_a_rotation(copied: Path, tmp_path: Path) -> None:
    store.ensure_files(tmp_path / "other", DOMAIN)
    custom = (tmp_path / "other" / "chain.pem").read_bytes()
    (copied / "chain.pem").write_bytes(custom)
    for _ in range(4):
        ca_rotation.advance_rotation(copied, DOMAIN)
        assert (copied / "chain.pem").read_bytes() == custom
    assert phases.current_phase(copied) is RotationPhase.NONE


@pytest.mark.parametrize(
    ("slots", "phase"),
    [((), 0), (("next",), 1), (("previous",), 2), (("retired",), 3), (("next", "retired"), 1), (("0",), 0)],
)
def test_the_files_decide_the_phase(slots: tuple[str, ...], phase: int, tmp_path: Path) -> None:
    for slot in slots:
        (tmp_path / f"ca-{slot}.pem").write_text("x")
    assert phases.current_phase(tmp_path) == phase
    assert phases.current_phase(tmp_path).text.startswith(f"phase {phase} of 3: " if phase else "no CA rotation")


def test_the_warning_about_a_ca_says_whether_its_rotation_has_begun(copied: Path) -> None:
    end = read_certificates(copied / "ca-0.pem")[0].not_valid_after_utc

    def warning() -> str:
        (found,) = (text for text in expiry.warnings(copied, end) if text.startswith(f"{copied / 'ca-0.pem'} "))
        return found.partition(f": {'its' if 'its rotation' in found else 'run'} ")[2]

    assert warning() == "./open-balena.sh secrets rotate CA before then (docs/certificates.md)"
    ca_rotation.advance_rotation(copied, DOMAIN)
    text = phases.RotationPhase.TRUSTED.text
    assert warning() == f"rotation is in {text}: continue with ./open-balena.sh secrets rotate CA"
