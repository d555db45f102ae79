"""Files of another domain, the moment of an expiry, and a bundle during a rotation: which files the messages name."""

import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from openbalena.base.errors import UsageError
from openbalena.pki import ca_rotation, certificates, consistency, integrity, phases, store
from openbalena.pki.certificates import Authority
from openbalena.pki.keys import certificate_pem, key_pem, new_key, read_certificates, read_key

DOMAIN = "my.example.com"
KEY = new_key()
OTHER = Authority(certificates.root_ca(KEY, "other.org"), KEY)
OURS = ("server-ca-0.pem", "ca-bundle.pem", "ocsp.pem", "api.pem", "vpn.pem")


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "pki"))


def problems(pki: Path, domain: str = DOMAIN) -> list[str]:
    """The messages without the directory."""
    try:
        store.check_files(pki, domain)
    except UsageError as error:
        return str(error).replace(f"{pki}/", "").replace(str(pki), "pki").splitlines()
    return []


def serve(pki: Path, *names: str) -> None:
    """Another CA's certificate for those names."""
    certificate = certificates.server(KEY, names, DOMAIN, OTHER)
    (pki / "chain.pem").write_bytes(certificate_pem(certificate) + key_pem(KEY))


def foreign(names: str, domain: str, *files: str) -> str:
    return (
        f"pki: for {names} instead of the domain {domain}: {', '.join(files)}: restore DNS_TLD, or delete these files "
        "(not the keys) and run config"
    )


def test_a_custom_certificate_is_not_deleted_with_the_files_of_a_domain(copied: Path) -> None:
    serve(copied, "*.other.org")
    assert problems(copied, "other.org") == [
        foreign(DOMAIN, "other.org", *OURS).replace(f"for {DOMAIN}", f"for vpn.{DOMAIN}, cloudlink.{DOMAIN}")
    ]
    serve(copied, f"*.{DOMAIN}")
    assert problems(copied) == []


def test_our_own_certificate_is(copied: Path) -> None:
    names = f"{DOMAIN}, *.{DOMAIN}, *.devices.{DOMAIN}"
    assert problems(copied, "other.org") == [foreign(names, "other.org", *OURS, "chain.pem")]
    for name in ("chain.pem", "ocsp.pem", "api.pem", "vpn.pem"):
        (copied / name).unlink()
    assert problems(copied, "other.org") == [foreign(DOMAIN, "other.org", "server-ca-0.pem", "ca-bundle.pem")]


def test_a_subdomain_needs_other_certificates_but_no_other_ca(copied: Path) -> None:
    names = f"{DOMAIN}, *.{DOMAIN}, *.devices.{DOMAIN}"
    assert problems(copied, f"a.{DOMAIN}") == [foreign(names, f"a.{DOMAIN}", "api.pem", "vpn.pem", "chain.pem")]


@pytest.mark.parametrize("left_out", [None, *certificates.HOSTS])
def test_a_custom_certificate_may_list_the_hosts(left_out: str | None, copied: Path) -> None:
    names = [f"{host}.{DOMAIN}" for host in certificates.HOSTS if host != left_out]
    serve(copied, *names)
    assert problems(copied) == ([foreign(", ".join(names), DOMAIN, "chain.pem")] if left_out else [])


def test_the_next_ca_is_for_the_domain_too(copied: Path) -> None:
    ca_rotation.advance_rotation(copied, DOMAIN)
    assert problems(copied) == []
    root = phases.authority(copied, "ca-next")
    changed = certificates.server_ca(read_key(copied / "server-ca-next-key.pem"), "other.org", root)
    (copied / "server-ca-next.pem").write_bytes(certificate_pem(changed))
    found = problems(copied)
    assert found[0] == (
        "server-ca-next.pem: may issue only for other.org: restore DNS_TLD, and run ./open-balena.sh secrets rotate CA "
        "until it is complete"
    )
    assert found[1].startswith(
        "ca-bundle.pem: does not contain server-ca-0.pem and ca-0.pem and server-ca-next.pem and"
    )
    assert len(found) == 2


@pytest.mark.parametrize(
    ("phase", "parts"),
    [
        (0, ("server-ca-0", "ca-0")),
        (1, ("server-ca-0", "ca-0", "server-ca-next", "ca-next")),
        (2, ("server-ca-0", "ca-0", "server-ca-previous", "ca-previous")),
        (3, ("server-ca-0", "ca-0")),
    ],
)
def test_the_bundle_has_every_ca_that_is_trusted(phase: int, parts: tuple[str, ...], copied: Path) -> None:
    for _ in range(phase):
        ca_rotation.advance_rotation(copied, DOMAIN)
    assert problems(copied) == []
    found = [read_certificates(copied / f"{part}.pem")[0] for part in parts]
    for number, part in enumerate(parts):
        rest = [*found[:number], *found[number + 1 :]]
        (copied / "ca-bundle.pem").write_bytes(certificate_pem(*rest, OTHER.certificate))
        expected = f"ca-bundle.pem: does not contain {' and '.join(f'{each}.pem' for each in parts)}: delete it"
        assert any(text.startswith(expected) for text in problems(copied)), part
    (copied / "ca-bundle.pem").write_bytes(certificate_pem(OTHER.certificate, *found))
    assert problems(copied) == [], "it may have more"


def clock(monkeypatch: pytest.MonkeyPatch, module: object, moment: datetime) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return moment

    monkeypatch.setattr(module, "datetime", Clock)


@pytest.mark.parametrize(("seconds", "expired"), [(0, False), (1, True)])
def test_the_moment_a_certificate_expires(
    seconds: int, expired: bool, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaves = ("ocsp.pem", "api.pem", "vpn.pem", "chain.pem")
    ends = {name: read_certificates(copied / name)[0].not_valid_after_utc for name in leaves}
    end = min(ends.values())
    clock(monkeypatch, consistency, end + timedelta(seconds=seconds))
    assert [text.partition(":")[0] for text in problems(copied)] == [
        name for name in leaves if expired and ends[name] == end
    ]
    assert all(
        text.endswith(
            f"expired on {end:%Y-%m-%d}: run ./open-balena.sh pki renew (pki import if it is a custom certificate)"
        )
        for text in problems(copied)
    )


@pytest.mark.parametrize(("seconds", "early"), [(0, False), (-1, True)])
def test_the_moment_a_certificate_becomes_valid(
    seconds: int, early: bool, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = read_certificates(copied / "vpn.pem")
    start = max(each.not_valid_before_utc for each in found)
    clock(monkeypatch, integrity, start + timedelta(seconds=seconds))
    assert bool(list(integrity.partial_files(copied / "vpn.pem", found))) is early


@pytest.mark.parametrize(
    ("rest", "number"), [(("api", "server-ca-0", "ca-0"), 1), (("server-ca-0", "ca-0", "ca-0", "api"), 4)]
)
@pytest.mark.parametrize("name", ["chain.pem", "vpn.pem"])
def test_the_wrong_link_of_a_chain_is_numbered(rest: tuple[str, ...], number: int, name: str, copied: Path) -> None:
    links = [read_certificates(copied / f"{stem}.pem")[0] for stem in rest]
    (copied / name).write_bytes(certificate_pem(read_certificates(copied / name)[0], *links))
    (problem,) = integrity.chain(copied, name)
    text = str(problem)
    assert f"{name}: its certificate {number} was not issued by the next one: delete it and run" in text
    assert text.endswith("(pki import if it is a custom certificate)") is (name == "chain.pem")


def test_the_first_file_of_an_incomplete_ca_says_what_is_missing(copied: Path) -> None:
    ca_rotation.advance_rotation(copied, DOMAIN)
    for name in ("server-ca-next-key.pem", "ca-next.pem"):
        (copied / name).unlink()
    assert problems(copied) == [
        f"{name}: missing, although ca-next-key.pem exists: restore it from a backup"
        for name in ("ca-next.pem", "server-ca-next-key.pem")
    ]


@pytest.mark.parametrize("body", ["MAMCAQ", "MAMC=AQU", "MAMCAQU=\nMAMCAQU="])
def test_parameters_are_base64_without_errors(body: str, copied: Path) -> None:
    """Without validation the decoder would skip what is wrong."""
    (copied / "dhparam.pem").write_text(f"-----BEGIN DH PARAMETERS-----\n{body}\n-----END DH PARAMETERS-----\n")
    assert [text.partition(":")[0] for text in problems(copied)] == ["dhparam.pem"]
