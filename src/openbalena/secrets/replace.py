"""Replacing the CA: one phase further at a time, each completely or not at all."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from openbalena.files import private_directory, write_atomic
from openbalena.secrets import certificates, issued
from openbalena.secrets.certificates import Authority
from openbalena.secrets.directory import FILES, STAGE, STEP, authority_files, clear, private
from openbalena.secrets.keys import KEY_MODE, certificate_pem, new_key, write_key
from openbalena.secrets.make import leaves
from openbalena.secrets.phases import Phase, authority, bundle, phase, sent
from openbalena.secrets.pki import serves_own


def advance(directory: Path, dns_tld: str, *, back: bool = False) -> Phase:
    """Bring `directory`, whose files are complete and belong together, into the next phase; returns it.

    `back`: from the third into the second, so that clients that were locked out come back.

    What changes is written to one file first, in one step: a run that was killed before has changed nothing, and one
    that was killed after is `pending`, and completed by `finish`. Where HAProxy serves another CA's certificate, that
    one is left alone.
    """
    stage = directory / STAGE
    shutil.rmtree(stage, ignore_errors=True)
    try:
        private_directory(stage)
        there = [name for name in FILES if (directory / name).exists()]
        for name in there:
            shutil.copy2(directory / name, stage / name)
        (_trust_retired if back else _STEPS[phase(stage)])(stage, dns_tld)
        issued.write(stage)
        changes = {
            name: content for name in sorted(FILES) if (content := _text(stage / name)) != _text(directory / name)
        }
        write_atomic(directory / STEP, json.dumps(changes), KEY_MODE)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    finish(directory)
    return phase(directory)


def pending(directory: Path) -> bool:
    """Whether a step has been begun and not been completed."""
    return (directory / STEP).exists()


def finish(directory: Path) -> None:
    """Complete the pending step: new files, then what goes, then the file that says so."""
    changes: dict[str, str | None] = json.loads((directory / STEP).read_text())
    for name, text in changes.items():
        if text is not None:
            write_atomic(directory / name, text, _mode(name))
    for name, text in changes.items():
        if text is None:
            (directory / name).unlink(missing_ok=True)
    (directory / STEP).unlink()
    clear(directory)


def _trust_next(stage: Path, dns_tld: str) -> None:
    root_key, key = new_key(), new_key()
    # Two roots of one name would make each other's certificates look issued by themselves.
    mark = f" {x509.SubjectKeyIdentifier.from_public_key(root_key.public_key()).digest.hex()[:8]}"
    root = Authority(certificates.root_ca(root_key, dns_tld, mark), root_key)
    write_key(stage / "ca-next-key.pem", root_key)
    write_atomic(stage / "ca-next.pem", certificate_pem(root.certificate))
    write_key(stage / "server-ca-next-key.pem", key)
    write_atomic(stage / "server-ca-next.pem", certificate_pem(certificates.server_ca(key, dns_tld, root, mark)))
    write_atomic(stage / "ca-bundle.pem", bundle(stage))


def _issue_by_next(stage: Path, dns_tld: str) -> None:
    _rename(stage, "0", "previous")
    _rename(stage, "next", "0")
    _cross(stage)
    _reissue(stage, dns_tld, "ocsp.pem", "api.pem", "vpn.pem", "chain.pem")


def _drop_previous(stage: Path, dns_tld: str) -> None:
    _rename(stage, "previous", "retired")
    (stage / "ca-cross.pem").unlink(missing_ok=True)
    # The two that bring the CA's certificates along.
    _reissue(stage, dns_tld, "vpn.pem", "chain.pem")


def _trust_retired(stage: Path, dns_tld: str) -> None:
    _rename(stage, "retired", "previous")
    _cross(stage)
    _reissue(stage, dns_tld, "vpn.pem", "chain.pem")


def _forget_retired(stage: Path, dns_tld: str) -> None:
    for name in authority_files("retired"):
        (stage / name).unlink()


_STEPS = {
    Phase.NONE: _trust_next,
    Phase.TRUSTED: _issue_by_next,
    Phase.ISSUING: _drop_previous,
    Phase.DROPPED: _forget_retired,
}


def _cross(stage: Path) -> None:
    root, old = authority(stage, "ca-0"), authority(stage, "ca-previous")
    # A root that has ended is trusted by nobody: what it says of the new one helps nobody.
    if old.certificate.not_valid_after_utc > datetime.now(UTC):
        cross = certificates.cross(root.certificate, root.key.public_key(), old)
        write_atomic(stage / "ca-cross.pem", certificate_pem(cross))


def _rename(stage: Path, old: str, new: str) -> None:
    for before, after in zip(authority_files(old), authority_files(new), strict=True):
        (stage / before).rename(stage / after)


def _reissue(stage: Path, dns_tld: str, *files: str) -> None:
    """Write what is trusted, and issue `files` anew by the CA that issues now.

    With the keys they have, since the api's signs tokens that are out there; HAProxy's gets a new one.
    """
    write_atomic(stage / "ca-bundle.pem", bundle(stage))
    own = serves_own(stage)
    issue = leaves(stage, dns_tld, authority(stage, "server-ca-0"), sent(stage))
    for file in files:
        if own or file != "chain.pem":
            write_atomic(stage / file, issue[file](), _mode(file))


def _mode(name: str) -> int:
    return KEY_MODE if private(name) else 0o644


def _text(path: Path) -> str | None:
    return path.read_text() if path.exists() else None
