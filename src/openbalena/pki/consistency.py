"""Check that the files of the PKI are consistent with each other and with the domain."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from openbalena.base.errors import Problem, UsageError
from openbalena.base.files import read_text
from openbalena.pki import integrity
from openbalena.pki.certificates import HOSTS, lacking, permitted
from openbalena.pki.directory import CA_SLOTS, ROTATION_JOURNAL, authority_files
from openbalena.pki.integrity import about
from openbalena.pki.keys import (
    certificate_pem,
    issued,
    key_id,
    key_in,
    key_matches,
    key_set,
    read_certificates,
    read_key,
)
from openbalena.pki.phases import RotationPhase, current_phase

# Certificate, its key, its issuer ("" if any CA may have issued it).
CERTIFICATE_FILES = (
    *((f"ca-{kind}.pem", f"ca-{kind}-key.pem", "") for kind in ("0", *CA_SLOTS)),
    *((f"server-ca-{kind}.pem", f"server-ca-{kind}-key.pem", f"ca-{kind}.pem") for kind in ("0", *CA_SLOTS)),
    ("ca-cross.pem", "ca-0-key.pem", "ca-previous.pem"),
    ("ocsp.pem", "ocsp-key.pem", "server-ca-0.pem"),
    ("api.pem", "api.key", "server-ca-0.pem"),
    ("vpn.pem", "vpn.key", "server-ca-0.pem"),
    ("chain.pem", "chain.pem", ""),
)
# Never renewed: devices and services trust these very certificates.
AUTHORITIES = ("ca-0.pem", "server-ca-0.pem")
# A rotation can continue after these have expired.
RETIRED_FILES = ("ca-previous.pem", "server-ca-previous.pem", "ca-retired.pem", "server-ca-retired.pem", "ca-cross.pem")

_ROTATE = "run ./open-balena.sh secrets rotate CA"


def pki_problems(directory: Path, dns_tld: str, *, ended: bool = True) -> list[Problem]:
    """Each problem, by the path of its file as the key. A missing file is not a problem.

    Without `ended`, expired certificates below the CAs are not reported, since a renewal replaces them.
    """
    if (directory / ROTATION_JOURNAL).exists():
        what = "a step of the CA rotation was interrupted"
        return [about(directory / ROTATION_JOURNAL, what, f"{_ROTATE} to complete it")]
    if unusable := [*integrity.irregular_files(directory), *_rotation(directory)]:
        return unusable
    try:
        return [
            *(problem for pair in CERTIFICATE_FILES for problem in _pair(directory, *pair, ended=ended)),
            *_domain(directory, dns_tld),
            *_token_key(directory),
            *_bundle(directory),
            *integrity.chain(directory, "chain.pem"),
            *integrity.chain(directory, "vpn.pem"),
            *integrity.dh_parameters(directory),
            *integrity.devices_key(directory),
        ]
    except UsageError as error:
        return [error.problem]


def chain_matches_key(chain: bytes) -> bool:
    """Whether the first certificate in `chain` matches the private key in it."""
    key = key_in(chain)
    try:
        return key is not None and key_matches(key, x509.load_pem_x509_certificates(chain)[0])
    except ValueError:
        return False


def chains_to(chain: bytes, authorities: bytes) -> bool:
    """Whether the first certificate in `chain` leads, through the others in it, to one of `authorities` (both PEM)."""
    others, trusted = x509.load_pem_x509_certificates(chain), x509.load_pem_x509_certificates(authorities)
    current: x509.Certificate | None = others.pop(0)
    while current:
        if any(issued(current, authority) for authority in trusted):
            return True
        issuer = next((each for each in others if issued(current, each)), None)
        others = [each for each in others if each != issuer]
        current = issuer
    return False


def _pair(directory: Path, certificate: str, key: str, issuer: str, *, ended: bool) -> Iterator[Problem]:
    path = directory / certificate
    if not path.exists():
        return
    if not (directory / key).exists():
        yield about(path, f"its key {key} is missing", f"restore the key, or delete {certificate} to regenerate both")
        return
    certificates = read_certificates(path)
    own = certificates[0]
    yield from integrity.partial_files(path, certificates)
    if not key_matches(read_key(directory / key), own):
        yield about(path, f"does not match the key in {key}", f"restore the right file, or delete {certificate}")
    if (
        own.not_valid_after_utc < datetime.now(UTC)
        and certificate not in RETIRED_FILES
        and (ended or (certificate in AUTHORITIES and current_phase(directory) is not RotationPhase.TRUSTED))
    ):
        yield about(path, f"expired on {own.not_valid_after_utc:%Y-%m-%d}", _remedy(path))
    if issuer:
        yield from _issuer(path, own, directory / issuer)


def _rotation(directory: Path) -> Iterator[Problem]:
    """Missing files of a CA that will issue next, or that issued before."""
    for kind in CA_SLOTS:
        expected = authority_files(kind)
        existing = [name for name in expected if (directory / name).exists()]
        for name in expected if existing else []:
            if name not in existing:
                yield about(directory / name, f"missing, although {existing[0]} exists", "restore it from a backup")


def _remedy(path: Path) -> str:
    if path.name in AUTHORITIES and current_phase(path.parent) is RotationPhase.TRUSTED:
        return _ROTATE
    if path.name in AUTHORITIES:
        return "delete it and the certificates it issued (not the keys) to regenerate them"
    return "run ./open-balena.sh pki renew (pki import if it is a custom certificate)"


def _issuer(path: Path, own: x509.Certificate, issuer: Path) -> Iterator[Problem]:
    if not issuer.exists():
        yield about(
            issuer,
            f"missing, although it issued {path.name}",
            f"restore it with its key, or delete {path.name} to have a new CA issue it",
        )
        return
    if not issued(own, read_certificates(issuer)[0]):
        yield about(path, f"was not issued by {issuer.name}", f"restore the right file, or delete {path.name}")


def _domain(directory: Path, dns_tld: str) -> Iterator[Problem]:
    # A custom certificate may list each host instead of a wildcard.
    needed = {"api.pem": ["api"], "vpn.pem": ["vpn"], "chain.pem": HOSTS}
    covered = {file: _names(read_certificates(directory / file)[0]) for file in needed if (directory / file).exists()}
    foreign = [file for file, names in covered.items() if lacking(names, dns_tld, needed[file])]
    names = covered[foreign[-1]] if foreign else []
    issuer = directory / "server-ca-0.pem"
    if issuer.exists() and (domains := _elsewhere(issuer, dns_tld)):
        names = names or domains
        bound = ("server-ca-0.pem", "ca-bundle.pem", "ocsp.pem", "api.pem", "vpn.pem", "chain.pem")
        foreign = [name for name in bound if (directory / name).exists() and (name != "chain.pem" or _ours(directory))]
    if foreign:
        yield about(
            directory,
            f"for {', '.join(names) or 'no name'} instead of the domain {dns_tld}: {', '.join(foreign)}",
            "restore DNS_TLD, or delete these files (not the keys) and run config",
        )
    waiting = directory / "server-ca-next.pem"
    if waiting.exists() and (domains := _elsewhere(waiting, dns_tld)):
        hint = f"restore DNS_TLD, and {_ROTATE} until it is complete"
        yield about(waiting, f"may issue only for {', '.join(domains)}", hint)


def _elsewhere(authority: Path, dns_tld: str) -> list[str]:
    """The domains that `authority` may issue for, if `dns_tld` is neither one of them nor below one."""
    domains = permitted(read_certificates(authority)[0])
    return [] if domains is None or any(f".{dns_tld}".endswith(f".{domain}") for domain in domains) else domains


def _ours(directory: Path) -> bool:
    """Whether the current CA issued HAProxy's certificate."""
    return issued(read_certificates(directory / "chain.pem")[0], read_certificates(directory / "server-ca-0.pem")[0])


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.DNSName)


def _token_key(directory: Path) -> Iterator[Problem]:
    path = directory / "api.key"
    if not path.exists():
        for name in ("api.kid", "api.jwks.json"):
            if (directory / name).exists():
                yield about(directory / name, "its key api.key is missing", f"restore it, or delete {name}")
        return
    key = read_key(path).public_key()
    if not (isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)):
        hint = "restore the right file, or delete it together with api.pem"
        yield about(path, "expected an EC key on P-256 (ES256)", hint)
        return
    kid, jwks = directory / "api.kid", directory / "api.jwks.json"
    if kid.exists() and read_text(kid) != key_id(key).encode():
        yield about(kid, "is not the identifier of api.key", "delete it to regenerate it")
    if jwks.exists() and _keys(jwks) != json.loads(key_set(key))["keys"]:
        yield about(jwks, "is not the public half of api.key", "delete it to regenerate it")


def _keys(path: Path) -> object:
    try:
        document = json.loads(read_text(path))
    except ValueError:
        return None
    return document.get("keys") if isinstance(document, dict) else None


def _bundle(directory: Path) -> Iterator[Problem]:
    kinds = [kind for kind in ("0", "next", "previous") if (directory / f"ca-{kind}.pem").exists()]
    path, parts = directory / "ca-bundle.pem", [f"{stem}-{kind}.pem" for kind in kinds for stem in ("server-ca", "ca")]
    if not path.exists() or not all((directory / part).exists() for part in parts):
        return
    bundled = {certificate_pem(certificate) for certificate in read_certificates(path)}
    if not {certificate_pem(read_certificates(directory / part)[0]) for part in parts} <= bundled:
        yield about(path, f"does not contain {' and '.join(parts)}", "delete it to regenerate it")
