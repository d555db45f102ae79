"""The CA is replaced: what each phase changes, whom servers' certificates convince in it, and what a kill leaves."""

import re
import shutil
import ssl
import time
from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from openbalena.base import files
from openbalena.base.errors import OperationError, UsageError
from openbalena.pki import archive, ca_rotation, certificates, expiry, keys, renew, store, tokens
from openbalena.pki.consistency import chains_to, pki_problems
from openbalena.pki.directory import ROTATION_JOURNAL, STAGE
from openbalena.pki.keys import certificate_pem, read_certificates
from openbalena.pki.phases import RotationPhase, current_phase
from openbalena.swarm import settings_store

DOMAIN = "my.example.com"
NEXT = {"ca-next.pem", "ca-next-key.pem", "server-ca-next.pem", "server-ca-next-key.pem"}
PREVIOUS = {name.replace("next", "previous") for name in NEXT}
RETIRED = {name.replace("next", "retired") for name in NEXT}
ISSUING = {name.replace("next", "0") for name in NEXT}
# What each step touches.
CHANGES = [
    NEXT | {"ca-bundle.pem"},
    NEXT | ISSUING | PREVIOUS | {"ca-cross.pem", "ocsp.pem", "api.pem", "vpn.pem", "chain.pem", "issued.sql"},
    PREVIOUS | RETIRED | {"ca-cross.pem", "ca-bundle.pem", "vpn.pem", "chain.pem", "issued.sql"},
    RETIRED,
]
# Where each phase's server certificates convince who trusts the old root, the new one.
CONVINCED = [(True, False), (True, False), (True, True), (False, True), (False, True)]


@pytest.fixture
def at(made: Path, tmp_path: Path) -> Path:
    """A copy of the PKI, which the test brings where it wants."""
    return Path(shutil.copytree(made, tmp_path / "pki"))


def go(directory: Path, steps: int) -> Path:
    for _ in range(steps):
        ca_rotation.advance_rotation(directory, DOMAIN)
    return directory


def test_a_step_that_is_completed_leaves_no_copy_of_the_keys(at: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes: set[int] = set()
    kept = shutil.rmtree

    def killed(directory: Path, **_: object) -> None:
        """Nothing is removed, as by a run that is killed after its step was written."""
        modes.update(path.stat().st_mode & 0o077 for path in directory.glob("chain.pem"))

    go(at, 1)
    monkeypatch.setattr(shutil, "rmtree", killed)
    monkeypatch.setattr(ca_rotation, "finish_step", lambda _: None)
    go(at, 1)
    assert (at / STAGE / "ca-0-key.pem").exists() and modes == {0}
    monkeypatch.undo()
    assert shutil.rmtree is kept
    ca_rotation.finish_step(at)
    assert not (at / STAGE).exists()


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def changed(before: dict[str, bytes], directory: Path) -> set[str]:
    after = contents(directory)
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def convinces(server: tuple[Path, Path], host: str, trusted: str) -> bool:
    """Whether a client that trusts `trusted` completes a TLS handshake with `server` (certificates, key) as `host`."""
    serving, asking = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cadata=trusted)
    serving.load_cert_chain(*server)
    asking.verify_flags |= ssl.VERIFY_X509_STRICT
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client, other = asking.wrap_bio(back, there, server_hostname=host), serving.wrap_bio(there, back, server_side=True)
    for end in (client, other, client, other, client):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError:
            return False
    return True


def servers(directory: Path) -> list[tuple[tuple[Path, Path], str]]:
    chain = directory / "chain.pem"
    return [((chain, chain), f"api.{DOMAIN}"), ((directory / "vpn.pem", directory / "vpn.key"), f"cloudlink.{DOMAIN}")]


def test_each_phase_changes_what_it_must_and_convinces_whom_it_should(at: Path) -> None:
    signing = {
        name: (at / name).read_bytes() for name in ("api.key", "api.kid", "api.jwks.json", "vpn.key", "ocsp-key.pem")
    }
    old, new, trusted = (at / "ca-0.pem").read_text(), "", []
    for steps, whom in enumerate(CONVINCED):
        if steps:
            before = contents(at)
            assert ca_rotation.advance_rotation(at, DOMAIN) == current_phase(at) == steps % 4
            assert changed(before, at) == CHANGES[steps - 1]
            new = new or (at / "ca-next.pem").read_text()
        store.check_files(at, DOMAIN)
        trusted.append((at / "ca-bundle.pem").read_text())
        modes = {path.name: path.stat().st_mode & 0o777 for path in at.iterdir()}
        keys_in = {path.name for path in at.iterdir() if b"PRIVATE KEY" in path.read_bytes()}
        assert modes == {name: 0o600 if name in keys_in else 0o644 for name in modes}
        assert store.serves_own(at)
        assert b64encode(trusted[-1].encode()).decode() == store.public_values(at)["ROOT_CA"]
        for server, host in servers(at):
            assert convinces(server, host, old) is whom[0], (steps, host)
            assert new == "" or convinces(server, host, new) is whom[1], (steps, host)
            assert convinces(server, host, trusted[-1])
            # Who fetched what was trusted a phase ago, and has not fetched since, is served still.
            assert convinces(server, host, trusted[max(steps - 1, 0)])
    assert trusted[1] == trusted[2], "what only trusts is not rolled for the second phase"
    assert old in trusted[2] and new in trusted[2] and old not in trusted[3] and new in trusted[3]
    assert {name: (at / name).read_bytes() for name in signing} == signing
    assert not [name for name in contents(at) if name[0] == "." or "retired" in name or "previous" in name]
    assert {read_certificates(at / name)[0].issuer for name in ("chain.pem", "vpn.pem", "api.pem", "ocsp.pem")} == {
        read_certificates(at / "server-ca-0.pem")[0].subject
    }


def test_the_two_roots_have_different_names(at: Path) -> None:
    go(at, 1)
    for stem in ("ca", "server-ca"):
        names = {read_certificates(at / f"{stem}-{kind}.pem")[0].subject for kind in ("0", "next")}
        assert len(names) == 2
        words = {"ca": "Root", "server-ca": "Server"}[stem]
        (name,) = read_certificates(at / f"{stem}-next.pem")[0].subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        assert re.fullmatch(rf"{words} CA [0-9a-f]{{8}} of {re.escape(DOMAIN)}", str(name.value))


def test_another_rotation_may_follow(at: Path) -> None:
    go(at, 4)
    first = (at / "ca-0.pem").read_bytes()
    go(at, 4)
    assert (at / "ca-0.pem").read_bytes() != first and current_phase(at) is RotationPhase.NONE
    store.check_files(at, DOMAIN)


def test_clients_that_were_locked_out_come_back(at: Path) -> None:
    old = (at / "ca-0.pem").read_text()
    go(at, 3)
    assert not any(convinces(server, host, old) for server, host in servers(at))
    assert ca_rotation.advance_rotation(at, DOMAIN, back=True) is RotationPhase.ISSUING
    store.check_files(at, DOMAIN)
    assert all(convinces(server, host, old) for server, host in servers(at))
    assert old in (at / "ca-bundle.pem").read_text()
    assert go(at, 2) and current_phase(at) is RotationPhase.NONE


@pytest.mark.parametrize("steps", range(4))
def test_a_renewal_belongs_to_its_phase(at: Path, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    old = (at / "ca-0.pem").read_text()
    monkeypatch.setattr(certificates, "LEAF_LIFETIME", timedelta(days=20))
    go(at, steps)
    for name in ("chain.pem", "vpn.pem", "api.pem", "ocsp.pem", "ca-bundle.pem"):
        (at / name).unlink()
    store.ensure_files(at, DOMAIN)
    before = contents(at)
    monkeypatch.undo()
    renewed = set(renew.renew_certificates(at, DOMAIN))
    assert renewed == {"chain.pem", "vpn.pem", "api.pem", "ocsp.pem"} == changed(before, at) - {"issued.sql"}
    store.check_files(at, DOMAIN)
    for server, host in servers(at):
        assert convinces(server, host, old) is CONVINCED[steps][0]
        assert convinces(server, host, (at / "ca-bundle.pem").read_text())


@pytest.mark.parametrize("steps", range(4))
def test_a_killed_step_has_changed_nothing_or_is_completed(
    at: Path, steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before each of its writes and removals in turn, until there is none left to be killed at."""
    before, unlink = contents(go(at, steps)), Path.unlink
    for acts in range(40):
        left, killed = acts, False
        copied = Path(shutil.copytree(at, tmp_path / str(acts)))

        def dying() -> None:
            nonlocal left
            if not left:
                raise KeyboardInterrupt
            left -= 1

        def write(path: Path, content: bytes | str, mode: int = 0o644) -> None:
            dying()
            with monkeypatch.context() as inner:
                inner.setattr(Path, "unlink", unlink)
                files.write_atomic(path, content, mode)

        def remove(path: Path, missing_ok: bool = False) -> None:
            dying()
            unlink(path, missing_ok)

        with monkeypatch.context() as patched:
            patched.setattr(ca_rotation, "write_atomic", write)
            patched.setattr(Path, "unlink", remove)
            try:
                ca_rotation.advance_rotation(copied, DOMAIN)
            except KeyboardInterrupt:
                killed = True
        if killed and not ca_rotation.pending_step(copied):
            assert not changed(before, copied)
            ca_rotation.advance_rotation(copied, DOMAIN)
        elif killed:
            for refused in (store.check_files, store.ensure_files, renew.renew_certificates):
                with pytest.raises(
                    UsageError, match=f"{ROTATION_JOURNAL}: a step .* was interrupted: run .* secrets rotate CA"
                ):
                    refused(copied, DOMAIN)
            ca_rotation.finish_step(copied)
        assert current_phase(copied) == (steps + 1) % 4 and changed(before, copied) == CHANGES[steps]
        store.check_files(copied, DOMAIN)
        if not killed:
            assert acts > 4
            return
    pytest.fail("it never came to an end")


def test_another_ca_s_certificate_stays_haproxy_s(at: Path, tmp_path: Path) -> None:
    store.ensure_files(tmp_path / "other", DOMAIN)
    foreign = (tmp_path / "other" / "chain.pem").read_bytes()
    (at / "chain.pem").write_bytes(foreign)
    for _ in range(4):
        ca_rotation.advance_rotation(at, DOMAIN)
        store.check_files(at, DOMAIN)
        assert (at / "chain.pem").read_bytes() == foreign and not store.serves_own(at)
        assert "ROOT_CA" not in store.public_values(at)


@pytest.mark.parametrize(
    ("steps", "name"), [(1, "server-ca-next.pem"), (2, "ca-previous-key.pem"), (3, "ca-retired.pem")]
)
def test_what_is_missing_of_a_waiting_ca_is_named(at: Path, steps: int, name: str) -> None:
    go(at, steps)
    (at / name).unlink()
    with pytest.raises(UsageError, match=f"{name}: missing, although .* exists: restore it from a backup"):
        store.check_files(at, DOMAIN)


@pytest.mark.parametrize("steps", [1, 2])
def test_the_old_root_may_end_meanwhile(at: Path, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too late for whom knows it alone; for all others the rotation goes on."""
    for name in ("ca-0.pem", "server-ca-0.pem", "ca-bundle.pem", "api.pem", "vpn.pem", "ocsp.pem", "chain.pem"):
        (at / name).unlink()
    with monkeypatch.context() as patched:
        patched.setattr(certificates, "CA_LIFETIME", certificates.CLOCK_SKEW + timedelta(seconds=4))
        store.ensure_files(at, DOMAIN)
    end = read_certificates(at / "ca-0.pem")[0].not_valid_after_utc
    go(at, steps)
    time.sleep(max(0, (end - datetime.now(UTC)).total_seconds()) + 0.1)
    if steps == 1:
        with pytest.raises(UsageError, match=r"/ca-0.pem: expired on .*: run ./open-balena.sh secrets rotate CA"):
            store.check_files(at, DOMAIN)
        assert pki_problems(at, DOMAIN, ended=False) == []
        go(at, 1)
        assert not (at / "ca-cross.pem").exists()
    store.check_files(at, DOMAIN)
    renew.renew_certificates(at, DOMAIN)
    assert (at / "ca-0.pem").read_bytes() in (at / "chain.pem").read_bytes()
    go(at, 2)
    store.check_files(at, DOMAIN)


@pytest.mark.parametrize("steps", range(5))
def test_only_who_knows_the_phase_may_deploy(at: Path, steps: int) -> None:
    """A machine that has seen the phase before goes on from it; one that has not is refused, as is a skipped phase."""
    values = tokens.missing_tokens({})
    known = [archive.fingerprints(go(at, 1) if step else at, values) for step in range(steps + 1)]
    last, now = known[max(steps - 1, 0)], known[steps]
    kept = settings_store.StoredSettings("id", "name", 1, "anna@laptop", last["ca"], last["tokens"])
    settings_store.require_compatible(kept, now, last["tokens"])
    settings_store.require_compatible(
        settings_store.StoredSettings("id", "name", 1, "anna@laptop", now["ca"], now["tokens"]), now, last["tokens"]
    )
    if steps:
        with pytest.raises(OperationError, match="config --from-cluster"):
            settings_store.require_compatible(kept, now, "another machine's")
        deployed = settings_store.StoredSettings("id", "name", 1, "anna@laptop", now["ca"], now["tokens"])
        with pytest.raises(OperationError, match="config --from-cluster"):
            settings_store.require_compatible(deployed, last, last["tokens"])
    if steps == 3:
        skipped = settings_store.StoredSettings("id", "name", 1, "anna@laptop", known[1]["ca"], known[1]["tokens"])
        with pytest.raises(OperationError, match="config --from-cluster"):
            settings_store.require_compatible(skipped, now, known[1]["tokens"])


@pytest.mark.parametrize(("days", "warned"), [(366, False), (364, True)])
def test_a_root_is_warned_of_a_year_before(at: Path, days: int, warned: bool) -> None:
    end = read_certificates(at / "ca-0.pem")[0].not_valid_after_utc
    found = [text for text in expiry.warnings(at, end - timedelta(days=days)) if "/ca-0.pem" in text]
    assert bool(found) is warned and all("run ./open-balena.sh secrets rotate CA before then" in text for text in found)


def test_while_it_is_replaced_the_warning_says_how_far_it_is(at: Path) -> None:
    end = read_certificates(at / "ca-0.pem")[0].not_valid_after_utc
    go(at, 1)
    (text,) = [text for text in expiry.warnings(at, end - timedelta(days=9)) if "/ca-0.pem" in text]
    assert "its rotation is in phase 1 of 3" in text
    go(at, 1)
    named = [
        text for text in expiry.warnings(at, end - timedelta(days=9)) if "ca-previous" in text or "ca-cross" in text
    ]
    assert named == [], "its end is what the rotation is for"
    assert {item.path.name for item in expiry.list_certificates(at)} >= {
        "ca-previous.pem",
        "server-ca-previous.pem",
        "ca-cross.pem",
    }


@pytest.mark.parametrize("steps", range(4))
def test_openvpn_s_authorities_have_no_name_twice_and_lead_from_its_certificate_to_a_root(at: Path, steps: int) -> None:
    go(at, steps)
    bundle_of = read_certificates(at / "ca-bundle.pem")
    own, foreign = store.public_values(at)["ROOT_CA"], b64encode(certificate_pem(another_root())).decode()
    for root_ca, more in ((own, 0), ("", 0), (foreign, 1)):
        # What the image makes of the two, ca.crt.
        content = b64decode(root_ca) + b"\n" + b64decode(store.vpn_authorities(at, root_ca))
        held = x509.load_pem_x509_certificates(content)
        assert len({each.subject for each in held}) == len(held) == len(bundle_of) + more
        assert set(bundle_of) <= set(held)
        assert chains_to((at / "vpn.pem").read_bytes(), content)
    # Without the variable the image would add vpn.pem, which has names of the bundle.
    assert {each.subject for each in read_certificates(at / "vpn.pem")} & {each.subject for each in bundle_of}


def test_a_root_ca_of_one_s_own_with_a_name_twice_is_refused(at: Path) -> None:
    root = (at / "ca-0.pem").read_bytes()
    with pytest.raises(UsageError, match=r"^ROOT_CA: has more than one certificate with the subject .*CN=Root CA of"):
        store.vpn_authorities(at, b64encode(root + root).decode())


def another_root() -> x509.Certificate:
    return certificates.root_ca(keys.new_key(), "another.example.com")
