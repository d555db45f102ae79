"""Which files of a PKI belong together: each way in which they do not is one message."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from openbalena.pki import certificates, consistency, integrity
from openbalena.pki.certificates import Authority
from openbalena.pki.keys import certificate_pem, key_pem, new_key, read_certificates, read_key, write_key

DOMAIN = "my.example.com"


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "pki"))


def copy(old: str, new: str) -> Callable[[Path], object]:
    return lambda pki: shutil.copy(pki / old, pki / new)


def remove(*names: str) -> Callable[[Path], object]:
    def removed(pki: Path) -> None:
        for name in names:
            (pki / name).unlink()

    return removed


def write(name: str, text: str) -> Callable[[Path], object]:
    return lambda pki: (pki / name).write_text(text)


def cut_chain(*stems: str) -> Callable[[Path], object]:
    def change(pki: Path) -> None:
        own = read_certificates(pki / "chain.pem")[0]
        others = [read_certificates(pki / f"{stem}.pem")[0] for stem in stems]
        (pki / "chain.pem").write_bytes(
            certificate_pem(own) + key_pem(read_key(pki / "chain.pem")) + certificate_pem(*others)
        )

    return change


# What is done to a PKI that is whole, and the files that the messages are about.
CASES: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "nothing": (lambda pki: None, []),
    "a step was interrupted": (write("rotation-step.json", "{}"), ["rotation-step.json"]),
    "a key is missing": (remove("api.key", "api.kid", "api.jwks.json"), ["api.pem"]),
    "a certificate is missing": (remove("api.pem"), []),
    "a key of another certificate": (copy("api.key", "vpn.key"), ["vpn.pem"]),
    "an issuer is missing": (remove("server-ca-0.pem"), ["server-ca-0.pem"] * 3),
    "a next CA without its key": (
        copy("ca-0.pem", "ca-next.pem"), ["ca-next-key.pem", "server-ca-next.pem", "server-ca-next-key.pem"]
    ),
    "identifiers without the key": (remove("api.key", "api.pem"), ["api.kid", "api.jwks.json"]),
    "another identifier": (write("api.kid", "x"), ["api.kid"]),
    "another key set": (write("api.jwks.json", '{"keys": []}'), ["api.jwks.json"]),
    "a key set that is none": (write("api.jwks.json", "["), ["api.jwks.json"]),
    "a key set that is a list": (write("api.jwks.json", "[]"), ["api.jwks.json"]),
    "no identifiers": (remove("api.kid", "api.jwks.json"), []),
    "no bundle": (remove("ca-bundle.pem"), []),
    "a bundle without the root": (copy("server-ca-0.pem", "ca-bundle.pem"), ["ca-bundle.pem", "chain.pem", "vpn.pem"]),
    "a chain without its root": (cut_chain("server-ca-0"), []),
    "a chain alone": (cut_chain(), ["chain.pem"]),
    "a chain in another order": (cut_chain("ca-0", "server-ca-0"), ["chain.pem"]),
    "a public key alone": (remove("devices.rsa.key"), []),
    "a private key alone": (remove("devices.rsa.key.pub"), []),
    "no public key in the file": (write("devices.rsa.key.pub", "# none\n"), ["devices.rsa.key.pub"]),
    "a public key that is none": (write("devices.rsa.key.pub", "ssh-rsa x\n"), ["devices.rsa.key.pub"]),
    "a private key that is none": (write("devices.rsa.key", "x"), ["devices.rsa.key"]),
    "no parameters": (remove("dhparam.pem"), []),
    "parameters that are none": (write("dhparam.pem", "x"), ["dhparam.pem"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_files_that_do_not_belong_together(case: str, copied: Path) -> None:
    change, files = CASES[case]
    change(copied)
    found = consistency.pki_problems(copied, DOMAIN)
    assert [problem.key for problem in found] == [str(copied / name) for name in files], found
    assert all(str(problem).startswith(f"{problem.key}: ") and problem.hint for problem in found)


@pytest.mark.parametrize(("domain", "files"), [(DOMAIN, 0), ("example.com", 6), ("other.org", 6), (f"a.{DOMAIN}", 3)])
def test_files_of_another_domain(domain: str, files: int, copied: Path) -> None:
    found = consistency.pki_problems(copied, domain)
    assert len(found) == bool(files)
    assert all(problem.what.split(": ")[2].count(",") + 1 == files for problem in found), found


def test_a_token_key_is_on_the_curve_of_its_algorithm(copied: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec

    write_key(copied / "api.key", ec.generate_private_key(ec.SECP384R1()))
    found = consistency.pki_problems(copied, DOMAIN)
    assert any("P-256" in each.what for each in found) and any("api.pem: does not match" in each.what for each in found)


KEY = new_key()
ROOT = Authority(certificates.root_ca(KEY, DOMAIN), KEY)
OTHER = Authority(certificates.root_ca(KEY, "other.org"), KEY)
UNKNOWN = certificates.root_ca(new_key(), "else.org")
BELOW = Authority(certificates.server_ca(KEY, DOMAIN, ROOT), KEY)
LEAF = certificates.server(KEY, [DOMAIN], DOMAIN, BELOW)


@pytest.mark.parametrize(
    ("others", "trusted", "leads"),
    [
        ([BELOW.certificate], ROOT.certificate, True),
        ([], ROOT.certificate, False),
        ([], BELOW.certificate, True),
        ([UNKNOWN, BELOW.certificate], ROOT.certificate, True),
        ([BELOW.certificate], OTHER.certificate, False),
        ([BELOW.certificate, ROOT.certificate], UNKNOWN, False),
    ],
)
def test_what_a_chain_leads_to(others: list[object], trusted: object, *, leads: bool) -> None:
    chain, authorities = certificate_pem(LEAF, *others), certificate_pem(trusted)  # type: ignore[arg-type]
    assert consistency.chains_to(chain, authorities) is leads


def test_a_chain_and_its_key() -> None:
    assert consistency.chain_matches_key(certificate_pem(LEAF) + key_pem(KEY))
    assert not consistency.chain_matches_key(certificate_pem(LEAF) + key_pem(new_key()))
    assert not consistency.chain_matches_key(certificate_pem(LEAF)) and not consistency.chain_matches_key(key_pem(KEY))


def test_a_chain_of_another_ca_need_not_lead_to_ours(copied: Path) -> None:
    (copied / "chain.pem").write_bytes(
        certificate_pem(certificates.server(KEY, [DOMAIN], DOMAIN, OTHER)) + key_pem(KEY)
    )
    assert list(integrity.chain(copied, "chain.pem")) == []
    remove("ca-bundle.pem")(copied)
    assert list(integrity.chain(copied, "vpn.pem")) == [] == list(integrity.chain(copied, "none.pem"))


@pytest.mark.parametrize(("days", "behind"), [(-1, True), (0, False), (1, False)])
def test_a_clock_before_this_code_was_written(days: int, behind: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import UTC, datetime, timedelta

    from openbalena.base.errors import UsageError

    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime(2026, 11, 1, tzinfo=UTC) + timedelta(days=days)

    monkeypatch.setattr(integrity, "datetime", Clock)
    if behind:
        with pytest.raises(UsageError, match="clock"):
            integrity.require_clock()
    else:
        integrity.require_clock()
