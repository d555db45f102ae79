"""What a bad disk, a file of another deployment or a wrong clock makes of the PKI is named before it is used."""

import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from openbalena.base.errors import UsageError
from openbalena.cli.main import main
from openbalena.pki import consistency, expiry, integrity, phases, renew, store
from openbalena.pki.directory import FILES
from openbalena.pki.keys import certificate_pem, key_pem, new_ssh_key, read_certificates, read_key

DOMAIN = "my.example.com"


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "pki"))


@pytest.fixture
def other(tmp_path: Path) -> Path:
    store.ensure_files(tmp_path / "other", DOMAIN)
    return tmp_path / "other"


def found(directory: Path) -> str:
    return "\n".join(map(str, consistency.pki_problems(directory, DOMAIN)))


def test_a_chain_without_its_intermediates(copied: Path) -> None:
    path = copied / "chain.pem"
    own, server_ca, _ = read_certificates(path)
    key = key_pem(read_key(path))
    path.write_bytes(certificate_pem(own) + key)
    assert "chain.pem: the certificates after the first do not lead to a root of ca-bundle.pem" in found(copied)
    path.write_bytes(certificate_pem(own) + key + certificate_pem(server_ca))
    assert found(copied) == "", "clients have the root"
    # What is said helps.
    path.unlink()
    store.ensure_files(copied, DOMAIN)
    assert found(copied) == ""


def test_a_chain_with_another_deployments_intermediates(copied: Path, other: Path) -> None:
    path = copied / "chain.pem"
    own = read_certificates(path)[0]
    path.write_bytes(
        certificate_pem(own) + key_pem(read_key(path)) + certificate_pem(*read_certificates(other / "chain.pem")[1:])
    )
    assert "chain.pem: its certificate 1 was not issued by the next one" in found(copied)


def test_a_chain_in_another_order(copied: Path) -> None:
    path = copied / "chain.pem"
    own, server_ca, root = read_certificates(path)
    path.write_bytes(certificate_pem(own) + key_pem(read_key(path)) + certificate_pem(root, server_ca))
    assert "its certificate 1 was not issued by the next one" in found(copied)


def test_the_vpns_file_may_be_its_certificate_alone_or_with_its_chain(copied: Path, other: Path) -> None:
    path = copied / "vpn.pem"
    own = read_certificates(path)[0]
    path.write_bytes(
        certificate_pem(own, *(read_certificates(copied / f"{ca}.pem")[0] for ca in ("server-ca-0", "ca-0")))
    )
    assert found(copied) == ""
    path.write_bytes(certificate_pem(own))
    assert found(copied) == ""
    path.write_bytes(certificate_pem(own, read_certificates(other / "server-ca-0.pem")[0]))
    assert "vpn.pem: its certificate 1 was not issued by the next one" in found(copied)


@pytest.mark.parametrize("name", sorted(FILES - {"rotation-step.json", "issued.sql"}))
@pytest.mark.parametrize("left", [0, 100])
def test_an_empty_or_truncated_file(name: str, left: int, copied: Path) -> None:
    path = copied / name
    if not path.exists() or path.stat().st_size <= left:
        return
    path.write_bytes(path.read_bytes()[:left])
    assert str(path) in found(copied)
    with pytest.raises(UsageError):
        renew.renew_certificates(copied, DOMAIN)


@pytest.mark.parametrize("name", ["ca-bundle.pem", "chain.pem", "vpn.pem"])
def test_a_last_certificate_that_is_cut_off(name: str, copied: Path) -> None:
    (copied / name).write_bytes((copied / name).read_bytes()[:-200])
    assert found(copied).startswith(f"{copied / name}: ")


def test_halves_of_the_devices_key(copied: Path, tmp_path: Path) -> None:
    private, public = copied / "devices.rsa.key", copied / "devices.rsa.key.pub"
    before = public.read_bytes()
    private.write_bytes(key_pem(new_ssh_key()))
    assert "devices.rsa.key.pub: is not the public half of devices.rsa.key" in found(copied)
    # More than one may open devices, and the private half may be somewhere safer, or encrypted.
    public.write_bytes(b"# ours\n" + before)
    private.unlink()
    assert found(copied) == ""
    for words in (["-N", ""], ["-N", "secret"], ["-N", "", "-t", "ed25519"]):
        private.unlink(missing_ok=True)
        public.unlink()
        ssh_keygen(["-q", *words, "-f", str(private)])
        assert found(copied) == "", words
    public.write_bytes(b'from="10.0.0.0/8" ' + public.read_bytes() + before)
    assert found(copied) == ""


def ssh_keygen(words: list[str]) -> None:
    import debian

    program = shutil.which("ssh-keygen") or debian.program("openssh-client", "usr/bin/ssh-keygen", "bookworm")
    subprocess.run([str(program), *words], check=True, timeout=60)


def test_dh_parameters_of_openssl(copied: Path) -> None:
    words = ["openssl", "dhparam", "-dsaparam", "-out", str(copied / "dhparam.pem"), "512"]
    subprocess.run(words, check=True, timeout=60, capture_output=True)
    assert found(copied) == ""
    shutil.copy(copied / "ca-0.pem", copied / "dhparam.pem")
    assert "dhparam.pem: expected Diffie-Hellman parameters" in found(copied)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", sorted(FILES - {"rotation-step.json"}))
@pytest.mark.parametrize("kind", ["directory", "pipe", "device", "loop"])
def test_what_is_no_file(name: str, kind: str, copied: Path) -> None:
    path = copied / name
    path.unlink(missing_ok=True)
    make(path, kind)
    assert f"{path}: " in found(copied)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ["directory", "pipe", "device", "loop"])
def test_every_command_says_so_and_ends(
    kind: str, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ["--project-directory", str(tmp_path)]
    assert main(["config", "--dns-tld", DOMAIN, "--yes", *at]) == 0
    shutil.rmtree(tmp_path / "pki")
    for name in ("ca-bundle.pem", "api.jwks.json", "chain.pem", "dhparam.pem"):
        shutil.copytree(made, tmp_path / "pki")
        (tmp_path / "pki" / name).unlink()
        make(tmp_path / "pki" / name, kind)
        for words in (["lint"], ["pki", "renew"], ["stack", "render"], ["config", "--yes"]):
            capsys.readouterr()
            assert main([*words, *at]) == 2, (name, words)
            assert f"{tmp_path / 'pki' / name}: " in (said := capsys.readouterr().err) and "defect" not in said
        shutil.rmtree(tmp_path / "pki")


def make(path: Path, kind: str) -> None:
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero" if kind == "device" else path.name)


class Behind(datetime):
    """A clock that is two days behind."""

    @classmethod
    def now(cls, tz=None):  # type: ignore[no-untyped-def]
        return datetime.now(tz) - timedelta(days=2)


def test_a_clock_that_is_behind_issues_nothing(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (copied / "chain.pem").read_bytes()
    monkeypatch.setattr(integrity, "datetime", Behind)
    today = f"{datetime.now(UTC):%Y-}"
    with pytest.raises(UsageError, match=f"ca-0.pem: is not valid before {today}.* this machine's clock shows "):
        renew.renew_certificates(copied, DOMAIN)
    assert (copied / "chain.pem").read_bytes() == before
    with pytest.raises(UsageError, match="set the clock"):
        store.check_files(copied, DOMAIN)


def test_a_ca_without_constraints_goes_on_and_is_named(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ["--project-directory", str(tmp_path)]
    shutil.copytree(made, tmp_path / "pki")
    assert main(["config", "--dns-tld", DOMAIN, "--yes", *at]) == 0
    assert main(["pki", "show", *at]) == 0
    assert f"server-ca-0.pem may issue only for {DOMAIN} and its subdomains" in capsys.readouterr().out
    unbound(tmp_path / "pki")
    assert consistency.pki_problems(tmp_path / "pki", DOMAIN) == []
    assert main(["pki", "show", *at]) == 0
    assert "server-ca-0.pem may issue for any name" in capsys.readouterr().out


def test_what_is_said_of_one_machine(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """There HAProxy serves what cert-manager got, and chain.pem is of no use."""
    at = ["--project-directory", str(tmp_path)]
    shutil.copytree(made, tmp_path / "pki")
    assert main(["config", "--dns-tld", DOMAIN, "--yes", *at]) == 0
    for words in (["pki", "show"], ["pki", "renew"]):
        capsys.readouterr()
        assert main([*words, *at]) == 0
        assert "On one machine (up) HAProxy serves a different certificate, not chain.pem" in capsys.readouterr().out


def unbound(directory: Path) -> None:
    """Make the server CA in `directory` one of the kind that was made before there were name constraints."""
    own, root = read_certificates(directory / "server-ca-0.pem")[0], phases.authority(directory, "ca-0")
    builder = x509.CertificateBuilder(
        root.certificate.subject, own.subject, own.public_key(), own.serial_number, own.not_valid_before_utc,
        own.not_valid_after_utc, [one for one in own.extensions if not isinstance(one.value, x509.NameConstraints)],
    )  # fmt: skip
    (directory / "server-ca-0.pem").write_bytes(certificate_pem(builder.sign(root.key, SHA256())))
    (directory / "ca-bundle.pem").write_bytes(phases.trusted_bundle(directory))


def test_a_machine_without_a_clock_makes_no_ca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one without a battery says after its start; there is no file yet that it could be compared with."""

    class Reset(datetime):
        @classmethod
        def now(cls, tz=None):  # type: ignore[no-untyped-def]
            return datetime(1970, 1, 2, tzinfo=tz)

    monkeypatch.setattr(integrity, "datetime", Reset)
    with pytest.raises(
        UsageError, match="this machine's clock shows 1970-01-02 00:00 UTC, which is in the past: set it"
    ):
        store.ensure_files(tmp_path / "pki", DOMAIN)
    assert not (tmp_path / "pki").exists()


def test_pki_show_lists_and_warns(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = ["--project-directory", str(tmp_path)]
    assert main(["config", "--dns-tld", DOMAIN, "--yes", *at]) == 0
    (tmp_path / "pki" / "dhparam.pem").write_bytes(b"")
    assert main(["pki", "show", *at]) == 0
    said = capsys.readouterr()
    assert "chain.pem" in said.out and f"warning: {tmp_path / 'pki' / 'dhparam.pem'}: expected" in said.err
    assert len(expiry.list_certificates(tmp_path / "pki")) == 6
