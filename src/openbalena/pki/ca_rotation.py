"""Rotate the CA: one phase at a time, each applied completely or not at all."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from openbalena.base.files import private_directory, write_atomic
from openbalena.pki import certificates, ocsp_records
from openbalena.pki.certificates import Authority
from openbalena.pki.directory import FILES, ROTATION_JOURNAL, STAGE, authority_files, private, remove_temporary
from openbalena.pki.generate import leaf_issuers
from openbalena.pki.keys import KEY_MODE, certificate_pem, new_key, write_key
from openbalena.pki.phases import RotationPhase, authority, current_phase, intermediates, trusted_bundle
from openbalena.pki.store import serves_own


def advance_rotation(directory: Path, dns_tld: str, *, back: bool = False) -> RotationPhase:
    """Bring `directory`, whose files must be complete and consistent, into the next phase; returns the phase.

    `back`: from the third phase to the second, so that clients that were locked out can connect again.

    All changes are first written to one journal file, atomically: a run killed before that has changed nothing, and
    one killed after it is `pending` and completed by `finish`. If HAProxy serves another CA's certificate, that one is
    not changed.
    """
    stage = directory / STAGE
    shutil.rmtree(stage, ignore_errors=True)
    try:
        private_directory(stage)
        for name in FILES:
            if (directory / name).exists():
                shutil.copy2(directory / name, stage / name)
        (_trust_retired if back else _STEPS[current_phase(stage)])(stage, dns_tld)
        ocsp_records.write_records(stage)
        changes = {
            name: content for name in sorted(FILES) if (content := _text(stage / name)) != _text(directory / name)
        }
        write_atomic(directory / ROTATION_JOURNAL, json.dumps(changes), KEY_MODE)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    finish_step(directory)
    return current_phase(directory)


def pending_step(directory: Path) -> bool:
    """Whether a step was started but not completed."""
    return (directory / ROTATION_JOURNAL).exists()


def finish_step(directory: Path) -> None:
    """Complete the pending step: write the new files, delete the old ones, then delete the journal."""
    changes: dict[str, str | None] = json.loads((directory / ROTATION_JOURNAL).read_text())
    for name, text in changes.items():
        if text is not None:
            write_atomic(directory / name, text, _mode(name))
    for name, text in changes.items():
        if text is None:
            (directory / name).unlink(missing_ok=True)
    (directory / ROTATION_JOURNAL).unlink()
    remove_temporary(directory)


def _trust_next(stage: Path, dns_tld: str) -> None:
    root_key, key = new_key(), new_key()
    # With two roots of the same name, clients could not tell which of them issued a certificate.
    mark = f" {x509.SubjectKeyIdentifier.from_public_key(root_key.public_key()).digest.hex()[:8]}"
    root = Authority(certificates.root_ca(root_key, dns_tld, mark), root_key)
    write_key(stage / "ca-next-key.pem", root_key)
    write_atomic(stage / "ca-next.pem", certificate_pem(root.certificate))
    write_key(stage / "server-ca-next-key.pem", key)
    write_atomic(stage / "server-ca-next.pem", certificate_pem(certificates.server_ca(key, dns_tld, root, mark)))
    write_atomic(stage / "ca-bundle.pem", trusted_bundle(stage))


def _issue_by_next(stage: Path, dns_tld: str) -> None:
    _rename(stage, "0", "previous")
    _rename(stage, "next", "0")
    _cross(stage)
    _reissue(stage, dns_tld, "ocsp.pem", "api.pem", "vpn.pem", "chain.pem")


def _drop_previous(stage: Path, dns_tld: str) -> None:
    _rename(stage, "previous", "retired")
    (stage / "ca-cross.pem").unlink(missing_ok=True)
    # The two files that contain CA certificates.
    _reissue(stage, dns_tld, "vpn.pem", "chain.pem")


def _trust_retired(stage: Path, dns_tld: str) -> None:
    _rename(stage, "retired", "previous")
    _cross(stage)
    _reissue(stage, dns_tld, "vpn.pem", "chain.pem")


def _forget_retired(stage: Path, dns_tld: str) -> None:
    for name in authority_files("retired"):
        (stage / name).unlink()


_STEPS = {
    RotationPhase.NONE: _trust_next,
    RotationPhase.TRUSTED: _issue_by_next,
    RotationPhase.ISSUING: _drop_previous,
    RotationPhase.DROPPED: _forget_retired,
}


def _cross(stage: Path) -> None:
    root, old = authority(stage, "ca-0"), authority(stage, "ca-previous")
    # Nobody trusts an expired root, so a cross-certificate from it would be useless.
    if old.certificate.not_valid_after_utc > datetime.now(UTC):
        cross = certificates.cross(root.certificate, root.key.public_key(), old)
        write_atomic(stage / "ca-cross.pem", certificate_pem(cross))


def _rename(stage: Path, old: str, new: str) -> None:
    for before, after in zip(authority_files(old), authority_files(new), strict=True):
        (stage / before).rename(stage / after)


def _reissue(stage: Path, dns_tld: str, *files: str) -> None:
    """Rewrite the CA bundle and have the current CA reissue `files`.

    They keep their keys, since the api's key has signed tokens that are in use; only HAProxy's gets a new one.
    """
    write_atomic(stage / "ca-bundle.pem", trusted_bundle(stage))
    own = serves_own(stage)
    issue = leaf_issuers(stage, dns_tld, authority(stage, "server-ca-0"), intermediates(stage))
    for file in files:
        if own or file != "chain.pem":
            write_atomic(stage / file, issue[file](), _mode(file))


def _mode(name: str) -> int:
    return KEY_MODE if private(name) else 0o644


def _text(path: Path) -> str | None:
    return path.read_text() if path.exists() else None
