"""What is kept private, packed, regenerated, refused or warned of: decided from names, dates and bytes."""

import base64
import gzip
import io
import os
import shutil
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from openbalena.base.errors import OperationError, UsageError
from openbalena.base.project import Project
from openbalena.pki import archive, certificates, consistency, directory, expiry, generate, integrity, phases, tokens
from openbalena.pki.certificates import Authority
from openbalena.pki.keys import certificate_pem, new_key, read_certificates, read_key
from openbalena.settings import envfile
from openbalena.settings.variables import variables

DOMAIN = "my.example.com"
DH_CASES = yaml.safe_load(Path(__file__).with_name("dh_parameters.yml").read_text(encoding="utf-8"))
PRIVATE = {
    *(f"{stem}-{kind}-key.pem" for stem in ("ca", "server-ca") for kind in ("0", "next", "previous", "retired")),
    *("ocsp-key.pem", "api.key", "vpn.key", "chain.pem", "devices.rsa.key", "rotation-step.json"),
}


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "pki"))


def test_the_files_with_private_keys() -> None:
    assert {name for name in directory.FILES if directory.private(name)} == PRIVATE
    assert not directory.private("theirs-key.pem"), "not one of the PKI's"
    assert directory.authority_files("0") == ("ca-0.pem", "ca-0-key.pem", "server-ca-0.pem", "server-ca-0-key.pem")


@pytest.mark.parametrize(
    ("names", "fits"),
    [
        ((), True),
        (("api.key",), True),
        (("lost+found",), True),
        ((".rotation",), True),
        ((".api.key.12345678",), True),
        (("letter.txt",), False),
        ((".letter.txt.12345678",), False),
        (("letter.txt", "ca-0.pem"), False),
        (("letter.txt", "ca-0-key.pem"), True),
    ],
)
def test_a_directory_with_other_files_must_have_a_ca(names: tuple[str, ...], *, fits: bool, tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).write_text("x")
    if fits:
        directory.require_pki_directory(tmp_path)
        return
    with pytest.raises(UsageError, match="letter.txt"):
        directory.require_pki_directory(tmp_path)


@pytest.mark.parametrize(
    ("name", "others", "fits"),
    [("api.key", (), False), ("devices.rsa.key", (), False), ("devices.rsa.key", ("devices.rsa.key.pub",), True)],
)
def test_a_link_to_nothing_is_not_written_over(
    name: str, others: tuple[str, ...], *, fits: bool, tmp_path: Path
) -> None:
    (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    for other in others:
        (tmp_path / other).write_text("x")
    if not fits:
        with pytest.raises(UsageError, match="symbolic link"):
            directory.require_pki_directory(tmp_path)
        (tmp_path / "elsewhere").write_text("x")
        (tmp_path / "ca-0-key.pem").write_text("x")
    directory.require_pki_directory(tmp_path)


def test_a_directory_that_is_a_link_to_nothing(tmp_path: Path) -> None:
    directory.require_pki_directory(tmp_path / "new")
    (tmp_path / "pki").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="symbolic link"):
        directory.require_pki_directory(tmp_path / "pki")


def test_the_stage_of_a_killed_run_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".rotation").mkdir()
    (tmp_path / ".rotation" / "api.key").write_text("x")
    (tmp_path / ".api.key.12345678").write_text("x")
    (tmp_path / "api.key").write_text("x")
    directory.remove_temporary(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["api.key"]


def packed(directory_: Path) -> dict[str, int]:
    """Names and modes in the archive."""
    data = archive.pack_archive(directory_, directory_ / "pki")
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(data))) as content:
        return {entry.name: entry.mode for entry in content.getmembers()}


def test_what_is_packed(tmp_path: Path) -> None:
    pki = tmp_path / "pki"
    (pki / "folder").mkdir(parents=True)
    for name in (".env", "other.yml", "pki/b.pem", "pki/-a.key", "pki/.hidden", "pki/es\x1bcape"):
        (tmp_path / name).write_text(name)
        (tmp_path / name).chmod(0o641)
    assert packed(tmp_path) == {".env": 0o641, "pki/-a.key": 0o641, "pki/b.pem": 0o641}
    assert list(packed(tmp_path)) == [".env", "pki/-a.key", "pki/b.pem"]
    (tmp_path / "docker-compose.override.yml").write_text("x")
    assert "docker-compose.override.yml" in packed(tmp_path)


def test_the_largest_archive_is_what_a_secret_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert archive.LIMIT == 500 * 1024
    (tmp_path / "pki").mkdir()
    (tmp_path / "pki" / "small").write_bytes(b"x")
    (tmp_path / "pki" / "large").write_bytes(os.urandom(100))
    size = len(archive.pack_archive(tmp_path, tmp_path / "pki"))
    monkeypatch.setattr(archive, "LIMIT", size)
    assert len(archive.pack_archive(tmp_path, tmp_path / "pki")) == size
    monkeypatch.setattr(archive, "LIMIT", size - 1)
    with pytest.raises(OperationError, match="large"):
        archive.pack_archive(tmp_path, tmp_path / "pki")


def test_an_archive_does_not_say_when_it_was_made(tmp_path: Path) -> None:
    (tmp_path / "pki").mkdir()
    assert archive.pack_archive(tmp_path, tmp_path / "pki")[4:8] == bytes(4), "RFC 1952, 2.3: MTIME"


NO_ARCHIVES = {
    "nothing": b"",
    "no gzip": b"x",
    "no tar": gzip.compress(b"x" * 1024, mtime=0),
    "cut off": gzip.compress(b"x", mtime=0)[:-4],
    "damaged": gzip.compress(bytes(1024), mtime=0)[:10] + b"\xff" * 20,
}


@pytest.mark.parametrize("data", NO_ARCHIVES.values(), ids=NO_ARCHIVES)
def test_what_is_no_archive_is_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(OperationError, match="cannot be read"):
        archive.unpack_archive(data, tmp_path)


def archived(*names: str, kind: bytes = tarfile.REGTYPE, mode: int = 0o666) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as content:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode, entry.linkname = kind, mode, "x"
            content.addfile(entry)
    return gzip.compress(stream.getvalue())


@pytest.mark.parametrize(
    ("name", "kind", "fits"),
    [
        (".env", tarfile.REGTYPE, True),
        ("docker-compose.override.yml", tarfile.REGTYPE, True),
        ("pki/api.key", tarfile.REGTYPE, True),
        ("pki/-a.key", tarfile.REGTYPE, True),
        ("pki/.hidden", tarfile.REGTYPE, False),
        ("pki/es\x1bcape", tarfile.REGTYPE, False),
        ("pki/a/b", tarfile.REGTYPE, False),
        ("pki/../x", tarfile.REGTYPE, False),
        ("x", tarfile.REGTYPE, False),
        ("a/x", tarfile.REGTYPE, False),
        ("q/x", tarfile.REGTYPE, False),
        ("/pki/x", tarfile.REGTYPE, False),
        ("pki/api.key", tarfile.DIRTYPE, False),
        ("pki/api.key", tarfile.LNKTYPE, False),
    ],
)
def test_what_is_unpacked(name: str, kind: bytes, *, fits: bool, tmp_path: Path) -> None:
    if not fits:
        with pytest.raises(OperationError):
            archive.unpack_archive(archived(name, kind=kind), tmp_path)
        assert list(tmp_path.iterdir()) == []
        return
    assert archive.unpack_archive(archived(name), tmp_path) == [name]
    assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


def test_settings_are_unpacked_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(archive, "write_atomic", lambda path, content, mode: written.append(path.name))
    tmp_path.chmod(0o755)
    names = archive.unpack_archive(archived("docker-compose.override.yml", "pki/b", ".env", "pki/a"), tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o755, "it is the user's"
    assert set(written[:2]) == {"a", "b"} and set(written[2:]) == {".env", "docker-compose.override.yml"}
    assert names == [".env", "docker-compose.override.yml", "pki/a", "pki/b"]
    assert (tmp_path / "pki").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("missing", ["ca-0.pem", "ca-0-key.pem"])
def test_without_its_ca_a_pki_has_no_fingerprints(missing: str, copied: Path) -> None:
    assert archive.fingerprints(copied, {})["former"] == ""
    (copied / missing).unlink()
    with pytest.raises(UsageError, match="CA is missing"):
        archive.fingerprints(copied, {})


def test_each_phase_has_other_fingerprints(copied: Path) -> None:
    first = archive.fingerprints(copied, {})
    for kind in ("next", "retired"):
        shutil.copy(copied / "server-ca-0.pem", copied / f"ca-{kind}.pem")
        changed = archive.fingerprints(copied, {})
        assert changed["tokens"] != first["tokens"] and changed["former"] == "" and changed["ca"] == first["ca"]
        (copied / f"ca-{kind}.pem").unlink()
    shutil.copy(copied / "ca-0.pem", copied / "ca-previous.pem")
    assert archive.fingerprints(copied, {})["former"] == first["ca"]


ALWAYS = {name for name, variable in variables().items() if variable.token and not variable.new_only}
LOGIN = {"DB_USER", "DB_PASSWORD"}
NEW = {name for name, variable in variables().items() if variable.token} | LOGIN


@pytest.mark.parametrize(
    ("values", "made"),
    [
        ({}, NEW),
        ({"SUPERUSER_PASSWORD": "x"}, NEW - {"SUPERUSER_PASSWORD"}),
        ({"EXTERNAL_POSTGRES": "true"}, NEW - LOGIN),
        ({"EXTERNAL_POSTGRES": "false"}, NEW),
        ({"COOKIE_SESSION_SECRET": "x"}, ALWAYS - {"COOKIE_SESSION_SECRET"}),
        ({"COOKIE_SESSION_SECRET": ""}, NEW),
        ({"DB_PASSWORD": "x"}, NEW - LOGIN),
    ],
)
def test_which_tokens_are_made(values: dict[str, str], made: set[str]) -> None:
    found = tokens.missing_tokens(values)
    assert found.keys() == made
    assert all(len(value) == 32 for name, value in found.items() if name != "DB_USER")


@pytest.mark.parametrize(
    ("name", "file", "around", "problem"),
    [
        ("COOKIE_SESSION_SECRET", {"COOKIE_SESSION_SECRET": "old"}, "", ""),
        ("COOKIE_SESSION_SECRET", {}, "", "is not set"),
        ("DB_PASSWORD", {}, "", ""),
        ("DNS_TLD", {"DNS_TLD": DOMAIN}, "", "unknown token"),
        ("REDIS_PASSWORD", {"REDIS_PASSWORD": "old", "REDIS_PASSWORD_PREVIOUS": "older"}, "", "third value"),
        ("COOKIE_SESSION_SECRET", {"COOKIE_SESSION_SECRET": "old", "REDIS_PASSWORD_PREVIOUS": "older"}, "", ""),
        ("COOKIE_SESSION_SECRET", {"COOKIE_SESSION_SECRET": "0123456789abcdef"}, "0123456789abcdef", "current value"),
        ("COOKIE_SESSION_SECRET", {"COOKIE_SESSION_SECRET": "old"}, "0123456789abcdef", ""),
        ("COOKIE_SESSION_SECRET", {"COOKIE_SESSION_SECRET": "old"}, "a\nb", "environment variable"),
        ("COOKIE_SESSION_SECRET", {"COOKIE_SESSION_SECRET": "old"}, "0123456789abc$ef", "is lost in a cluster"),
    ],
)
def test_what_a_token_may_become(
    name: str, file: dict[str, str], around: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(name, raising=False)
    if around:
        monkeypatch.setenv(name, around)
    (tmp_path / ".env").write_text(envfile.new(file))
    project = Project(directory=tmp_path)
    if problem:
        with pytest.raises(UsageError, match=problem):
            tokens.new_value(project, name)
        return
    found = tokens.new_value(project, name)
    assert found == around if around else len(found) == 32


def test_a_previous_value_is_kept_until_it_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_PASSWORD", raising=False)
    project = Project(directory=tmp_path)
    assert tokens.drop_previous_tokens(project) == []
    project.env_file.write_text(envfile.new({"REDIS_PASSWORD": "old"}))
    assert tokens.drop_previous_tokens(project) == []
    tokens.rotate_tokens(project, "REDIS_PASSWORD")
    assert "REDIS_PASSWORD_PREVIOUS=old" in project.env_file.read_text()
    assert project.env_file.stat().st_mode & 0o777 == 0o600
    assert tokens.overlapping({"REDIS_PASSWORD": "new"}) == []
    tokens.write_tokens(project, {"COOKIE_SESSION_SECRET": "old"})
    tokens.rotate_tokens(project, "COOKIE_SESSION_SECRET")
    assert "=old" not in project.env_file.read_text().replace("REDIS_PASSWORD_PREVIOUS=old", ""), "one value only"
    assert tokens.drop_previous_tokens(project) == ["REDIS_PASSWORD"] and "=old" not in project.env_file.read_text()


@pytest.mark.parametrize("case", DH_CASES, ids=lambda case: case["case"])
@pytest.mark.parametrize("kind", ["", "X9.42 "])
def test_parameters_of_diffie_hellman(case: dict[str, Any], kind: str, tmp_path: Path) -> None:
    body = base64.b64encode(bytes.fromhex(case["der"]) + bytes(case.get("zeros", 0))).decode()
    (tmp_path / "dhparam.pem").write_text(
        f"-----BEGIN {kind}DH PARAMETERS-----\n{body}\n-----END {kind}DH PARAMETERS-----\n"
    )
    assert (list(integrity.dh_parameters(tmp_path)) == []) is case["valid"]


def issue(pki: Path, name: str) -> None:
    """Write a certificate anew."""
    issuer = phases.authority(pki, "server-ca-0")
    (pki / name).write_bytes(generate.leaf_issuers(pki, DOMAIN, issuer, phases.intermediates(pki))[name]())


def ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is issued ended half an hour ago."""
    for lifetime in ("LEAF_LIFETIME", "CA_LIFETIME"):
        monkeypatch.setattr(certificates, lifetime, timedelta(minutes=30))


def test_a_certificate_that_ended_is_a_problem_unless_it_is_renewed_now(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert consistency.pki_problems(copied, DOMAIN) == []
    ended(monkeypatch)
    issue(copied, "api.pem")
    (problem,) = consistency.pki_problems(copied, DOMAIN)
    assert str(problem).startswith(f"{copied / 'api.pem'}: expired on")
    assert consistency.pki_problems(copied, DOMAIN, ended=False) == []


def expired_authority(copied: Path, stem: str, lifetime: Callable[[], None]) -> None:
    root = phases.authority(copied, "ca-0")
    lifetime()
    key = read_key(copied / f"{stem}-key.pem")
    new = certificates.root_ca(key, DOMAIN) if stem == "ca-0" else certificates.server_ca(key, DOMAIN, root)
    (copied / f"{stem}.pem").write_bytes(certificate_pem(new))


@pytest.mark.parametrize("stem", ["ca-0", "server-ca-0"])
@pytest.mark.parametrize("rotating", [False, True])
def test_a_ca_that_ended_is_a_problem_unless_its_successor_is_trusted(
    stem: str, rotating: bool, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expired_authority(copied, stem, lambda: ended(monkeypatch))
    if rotating:
        for name in directory.authority_files("0"):
            shutil.copy(copied / name, copied / name.replace("-0", "-next"))
        monkeypatch.setattr(consistency, "RETIRED_FILES", ("ca-next.pem", "server-ca-next.pem"))
    for always in (True, False):
        found = [
            each
            for each in consistency.pki_problems(copied, DOMAIN, ended=always)
            if f"{stem}.pem: expired" in each.what
        ]
        assert bool(found) is (always or not rotating)
        assert all(("secrets rotate CA" in each.hint) is rotating for each in found)


def test_what_a_retired_ca_issued_may_have_ended(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expired_authority(copied, "ca-0", lambda: ended(monkeypatch))
    for name in directory.authority_files("0"):
        shutil.copy(copied / name, copied / name.replace("-0", "-retired"))
    found = consistency.pki_problems(copied, DOMAIN)
    assert found and not any("-retired.pem: expired" in each.what for each in found)


def test_a_certificate_of_tomorrow_means_a_slow_clock(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = read_certificates(copied / "api.pem")
    assert list(integrity.partial_files(copied / "api.pem", own)) == []
    monkeypatch.setattr(certificates, "CLOCK_SKEW", timedelta(hours=-1))
    issue(copied, "api.pem")
    later = read_certificates(copied / "api.pem")
    assert len(list(integrity.partial_files(copied / "api.pem", own + later))) == 1


def info(name: str, end: datetime) -> expiry.CertificateInfo:
    return expiry.CertificateInfo(Path(name), (), "", end, end)


@pytest.mark.parametrize(
    ("name", "days"),
    [("api.pem", 30), ("chain.pem", 30), ("ca-next.pem", 30), ("ca-0.pem", 365), ("server-ca-0.pem", 365)],
)
def test_how_long_before_its_end_a_certificate_is_warned_of(name: str, days: int) -> None:
    now = datetime.now(UTC)
    last = now + timedelta(days=days)
    assert expiry.due([info(name, last)], now) and not expiry.due([info(name, last + timedelta(seconds=1))], now)
    assert not expiry.due([info("ca-previous.pem", now - timedelta(days=1))], now), "it is being replaced already"


def test_what_to_do_about_an_end_depends_on_the_certificate(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    late = read_certificates(copied / "ca-0.pem")[0].not_valid_after_utc + timedelta(seconds=1)
    found = dict(
        zip((item.path.name for item in expiry.list_certificates(copied)), expiry.warnings(copied, late), strict=True)
    )
    assert all("expired on" in text for text in found.values())
    assert all(("rotate CA" in text) is (name in consistency.AUTHORITIES) for name, text in found.items())
    assert "pki renew" in found["chain.pem"] and "pki renew" in found["api.pem"]
    just = read_certificates(copied / "ca-0.pem")[0].not_valid_after_utc
    assert all("expired on" in text for text in expiry.warnings(copied, just)), "at its end it is over"
    monkeypatch.setattr(expiry, "serves_own", lambda directory: False)
    texts = [text for text in expiry.warnings(copied, late) if "chain.pem" in text]
    assert "pki import" in texts[0]


ROOT_KEY, KEY = new_key(), new_key()
ROOT = Authority(certificates.root_ca(ROOT_KEY, DOMAIN), ROOT_KEY)


def test_a_root_and_the_ca_below_it() -> None:
    root = Authority(certificates.root_ca(ROOT_KEY, DOMAIN), ROOT_KEY)
    server_ca = certificates.server_ca(KEY, DOMAIN, root, " 1f2e")
    for found, length in ((root.certificate, None), (server_ca, 0)):
        basic = found.extensions.get_extension_for_class(x509.BasicConstraints)
        assert basic.critical and (basic.value.ca, basic.value.path_length) == (True, length)
        usage = found.extensions.get_extension_for_class(x509.KeyUsage)
        assert usage.critical and usage.value.key_cert_sign and usage.value.crl_sign and usage.value.digital_signature
        assert not (usage.value.key_encipherment or usage.value.data_encipherment or usage.value.key_agreement)
        assert not usage.value.content_commitment
        age = datetime.now(UTC) - found.not_valid_before_utc
        assert timedelta(minutes=59) < age < timedelta(minutes=65)
    assert certificates.permitted(server_ca) == [DOMAIN] and certificates.permitted(root.certificate) is None
    assert server_ca.extensions.get_extension_for_class(x509.NameConstraints).critical
    assert root.certificate.not_valid_after_utc - root.certificate.not_valid_before_utc == timedelta(days=3650)
    assert server_ca.not_valid_after_utc <= root.certificate.not_valid_after_utc
    (name,) = server_ca.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == f"Server CA 1f2e of {DOMAIN}"


def test_a_servers_certificate_and_the_responders() -> None:
    server = certificates.server(KEY, [f"api.{DOMAIN}"], DOMAIN, ROOT)
    ocsp = certificates.ocsp(KEY, DOMAIN, ROOT)
    for found, use in ((server, ExtendedKeyUsageOID.SERVER_AUTH), (ocsp, ExtendedKeyUsageOID.OCSP_SIGNING)):
        basic = found.extensions.get_extension_for_class(x509.BasicConstraints)
        assert basic.critical and not basic.value.ca
        usage = found.extensions.get_extension_for_class(x509.KeyUsage)
        assert usage.critical and usage.value.digital_signature
        assert not (usage.value.key_cert_sign or usage.value.crl_sign or usage.value.key_encipherment)
        assert list(found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [use]
        assert found.not_valid_after_utc - found.not_valid_before_utc == timedelta(days=825)
        (point,) = found.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
        assert [each.value for each in point.full_name or []] == [f"http://ca.{DOMAIN}/crl.der"]
    (access,) = server.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    assert access.access_location.value == f"http://ocsp.{DOMAIN}"
    assert ocsp.extensions.get_extension_for_class(x509.OCSPNoCheck)


CRITICAL = {"basicConstraints", "keyUsage", "nameConstraints"}


def test_only_what_every_client_must_understand_is_critical() -> None:
    """RFC 5280, 4.2.1.9, 4.2.1.3 and 4.2.1.10; a client rejects a certificate with another one that it lacks."""
    authority = Authority(certificates.server_ca(KEY, DOMAIN, ROOT), KEY)
    issued = [
        *(ROOT.certificate, authority.certificate, certificates.cross(ROOT.certificate, ROOT_KEY.public_key(), ROOT)),
        *(certificates.server(KEY, [f"api.{DOMAIN}"], DOMAIN, authority), certificates.ocsp(KEY, DOMAIN, authority)),
    ]
    for each in issued:
        for extension in each.extensions:
            assert extension.critical is (extension.oid._name in CRITICAL), (each.subject, extension)


def test_a_cross_certificate_has_the_name_and_key_of_one_root_and_the_end_of_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = Authority(certificates.root_ca(KEY, DOMAIN, " 1f2e"), KEY)
    monkeypatch.setattr(certificates, "CA_LIFETIME", timedelta(days=9999))
    found = certificates.cross(ROOT.certificate, ROOT_KEY.public_key(), other)
    assert found.subject == ROOT.certificate.subject and found.issuer == other.certificate.subject
    assert found.public_key() == ROOT_KEY.public_key()
    assert found.not_valid_after_utc == other.certificate.not_valid_after_utc, "no certificate outlives its issuer"
    basic = found.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (basic.ca, basic.path_length) == (True, None)


def test_the_names_of_the_cas_of_a_long_domain() -> None:
    domain = f"{'a' * 60}.com"
    root = Authority(certificates.root_ca(KEY, domain, " 1f2e"), KEY)
    found = [root.certificate, certificates.server_ca(KEY, domain, root, " 1f2e")]
    names = [each.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value for each in found]
    assert names == ["Root CA 1f2e", "Server CA 1f2e"]
    assert certificates.permitted(found[1]) == [domain]


def test_a_key_that_can_encipher_may() -> None:
    """TLS 1.2 with an RSA key exchange needs it; an EC key cannot (RFC 8422, 5.3)."""
    server = certificates.server(rsa.generate_private_key(65537, 2048), [f"api.{DOMAIN}"], DOMAIN, ROOT)
    usage = server.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.key_encipherment and usage.digital_signature and not usage.key_cert_sign


def test_the_name_that_stands_for_any_device() -> None:
    assert certificates.DEVICES == "00000000000000000000000000000000.devices"


@pytest.mark.parametrize(("length", "named"), [(64, True), (65, False)])
def test_a_name_that_is_too_long_for_the_subject_is_left_out(length: int, *, named: bool) -> None:
    name = "a" * (length - 4) + ".com"
    subject = certificates.server(KEY, [name], DOMAIN, ROOT).subject
    assert [each.value for each in subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ([name] if named else [])


@pytest.mark.parametrize(
    ("pattern", "host", "covered"),
    [
        ("a.example.com", "a.example.com", True),
        ("A.Example.com", "a.example.COM", True),
        ("*.example.com", "a.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "a.b.example.com", False),
        ("b.example.com", "a.example.com", False),
        ("*", "com", False),
    ],
)
def test_which_hosts_a_name_covers(pattern: str, host: str, *, covered: bool) -> None:
    assert certificates.covers(pattern, host) is covered


def test_hosts_without_a_name() -> None:
    assert certificates.lacking(["*.example.com"], "example.com") == []
    assert certificates.lacking(["api.example.com", "s3.example.com"], "example.com", ["api", "vpn", "s3"]) == [
        "vpn.example.com"
    ]
