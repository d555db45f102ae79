"""Whether the files of the PKI belong together and to the domain."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from openbalena.errors import UsageError
from openbalena.files import read
from openbalena.secrets import whole
from openbalena.secrets.certificates import HOSTS, lacking, permitted
from openbalena.secrets.directory import KINDS, STEP, authority_files
from openbalena.secrets.keys import (
    belongs,
    certificate_pem,
    issued,
    key_id,
    key_in,
    key_set,
    read_certificates,
    read_key,
)
from openbalena.secrets.phases import Phase, phase

# Certificate, its key, its issuer ("" where any may have issued it).
PAIRS = (
    *((f"ca-{kind}.pem", f"ca-{kind}-key.pem", "") for kind in ("0", *KINDS)),
    *((f"server-ca-{kind}.pem", f"server-ca-{kind}-key.pem", f"ca-{kind}.pem") for kind in ("0", *KINDS)),
    ("ca-cross.pem", "ca-0-key.pem", "ca-previous.pem"),
    ("ocsp.pem", "ocsp-key.pem", "server-ca-0.pem"),
    ("api.pem", "api.key", "server-ca-0.pem"),
    ("vpn.pem", "vpn.key", "server-ca-0.pem"),
    ("chain.pem", "chain.pem", ""),
)
# Not renewed: devices and services trust them as they are.
AUTHORITIES = ("ca-0.pem", "server-ca-0.pem")
# A rotation goes on when they have ended.
FORMER = ("ca-previous.pem", "server-ca-previous.pem", "ca-retired.pem", "server-ca-retired.pem", "ca-cross.pem")


_ROTATE = "run ./open-balena.sh secrets rotate CA"


def problems(directory: Path, dns_tld: str, *, ended: bool = True) -> list[str]:
    """A sentence for each thing that is wrong: file, what was expected, what to do. A missing file is no problem.

    `ended`: whether a certificate below the CAs that has ended is one (renewing it is what helps).
    """
    if (directory / STEP).exists():
        return [f"{directory / STEP}: a step of the CA's rotation was cut off: {_ROTATE}, which completes it"]
    if unusable := [*whole.irregular(directory), *_rotation(directory)]:
        return unusable
    try:
        return [
            *(sentence for pair in PAIRS for sentence in _pair(directory, *pair, ended=ended)),
            *_domain(directory, dns_tld),
            *_token_key(directory),
            *_bundle(directory),
            *whole.chain(directory, "chain.pem"),
            *whole.chain(directory, "vpn.pem"),
            *whole.dh_parameters(directory),
            *whole.devices_key(directory),
        ]
    except UsageError as error:
        return [str(error)]


def belong(chain: bytes) -> bool:
    """Whether the first certificate in `chain` is for the private key in it."""
    key = key_in(chain)
    try:
        return key is not None and belongs(key, x509.load_pem_x509_certificates(chain)[0])
    except ValueError:
        return False


def under(chain: bytes, authorities: bytes) -> bool:
    """Whether the first certificate in `chain` leads, by the others in it, to one of `authorities` (both PEM)."""
    held, trusted = x509.load_pem_x509_certificates(chain), x509.load_pem_x509_certificates(authorities)
    own: x509.Certificate | None = held.pop(0)
    while own:
        if any(issued(own, authority) for authority in trusted):
            return True
        issuer = next((each for each in held if issued(own, each)), None)
        held = [each for each in held if each != issuer]
        own = issuer
    return False


def _pair(directory: Path, certificate: str, key: str, issuer: str, *, ended: bool) -> Iterator[str]:
    path = directory / certificate
    if not path.exists():
        return
    if not (directory / key).exists():
        yield f"{path}: its key {key} is missing: put the key back, or delete {certificate} to have both made anew"
        return
    held = read_certificates(path)
    own = held[0]
    yield from whole.begun(path, held)
    if not belongs(read_key(directory / key), own):
        yield f"{path}: does not belong to the key in {key}: put the right one there, or delete {certificate}"
    if (
        own.not_valid_after_utc < datetime.now(UTC)
        and certificate not in FORMER
        and (ended or (certificate in AUTHORITIES and phase(directory) is not Phase.TRUSTED))
    ):
        yield f"{path}: ended on {own.not_valid_after_utc:%Y-%m-%d}: {_remedy(path)}"
    if issuer:
        yield from _issuer(path, own, directory / issuer)


def _rotation(directory: Path) -> Iterator[str]:
    """What is missing of a CA that waits to issue, or that issued before."""
    for kind in KINDS:
        wanted = authority_files(kind)
        there = [name for name in wanted if (directory / name).exists()]
        for name in wanted if there else []:
            if name not in there:
                yield f"{directory / name}: missing, although {there[0]} is there: put it back from a copy"


def _remedy(path: Path) -> str:
    if path.name in AUTHORITIES and phase(path.parent) is Phase.TRUSTED:
        return _ROTATE
    if path.name in AUTHORITIES:
        return "delete it and what it issued (the keys may stay) to have all of it made anew"
    return "run ./open-balena.sh pki renew (pki import, where it is one of your own)"


def _issuer(path: Path, own: x509.Certificate, issuer: Path) -> Iterator[str]:
    if not issuer.exists():
        yield (
            f"{issuer}: missing, although {path.name} was issued by it: put it back with its key, or delete "
            f"{path.name} to have it issued by a new one"
        )
        return
    if not issued(own, read_certificates(issuer)[0]):
        yield f"{path}: was not issued by {issuer.name}: put the right one there, or delete {path.name}"


def _domain(directory: Path, dns_tld: str) -> Iterator[str]:
    # One of the user's own may name each host in place of all at once.
    needed = {"api.pem": ["api"], "vpn.pem": ["vpn"], "chain.pem": HOSTS}
    there = {file: _names(read_certificates(directory / file)[0]) for file in needed if (directory / file).exists()}
    foreign = [file for file, names in there.items() if lacking(names, dns_tld, needed[file])]
    names = there[foreign[-1]] if foreign else []
    issuer = directory / "server-ca-0.pem"
    if issuer.exists() and (domains := _elsewhere(issuer, dns_tld)):
        names = names or domains
        bound = ("server-ca-0.pem", "ca-bundle.pem", "ocsp.pem", "api.pem", "vpn.pem", "chain.pem")
        foreign = [name for name in bound if (directory / name).exists() and (name != "chain.pem" or _ours(directory))]
    if foreign:
        yield (
            f"{directory}: not for the domain {dns_tld}, but for {', '.join(names) or 'no name'}: "
            f"{', '.join(foreign)}: set DNS_TLD back, or delete these files (keys beside them may stay) and run config"
        )
    waiting = directory / "server-ca-next.pem"
    if waiting.exists() and (domains := _elsewhere(waiting, dns_tld)):
        yield f"{waiting}: may issue for {', '.join(domains)} alone: set DNS_TLD back, and {_ROTATE} until it has ended"


def _elsewhere(authority: Path, dns_tld: str) -> list[str]:
    """The domains for which `authority` may issue, where `dns_tld` is not among them or below one."""
    domains = permitted(read_certificates(authority)[0])
    return [] if domains is None or any(f".{dns_tld}".endswith(f".{domain}") for domain in domains) else domains


def _ours(directory: Path) -> bool:
    """Whether HAProxy's certificate is of the CA that issues here."""
    return issued(read_certificates(directory / "chain.pem")[0], read_certificates(directory / "server-ca-0.pem")[0])


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.DNSName)


def _token_key(directory: Path) -> Iterator[str]:
    path = directory / "api.key"
    if not path.exists():
        for name in ("api.kid", "api.jwks.json"):
            if (directory / name).exists():
                yield f"{directory / name}: its key api.key is missing: put it back, or delete {name}"
        return
    key = read_key(path).public_key()
    if not (isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)):
        yield f"{path}: expected an EC key on P-256 (ES256): put the right file there, or delete it with api.pem"
        return
    kid, jwks = directory / "api.kid", directory / "api.jwks.json"
    if kid.exists() and read(kid) != key_id(key).encode():
        yield f"{kid}: is not the identifier of api.key: delete it to have it made anew"
    if jwks.exists() and _keys(jwks) != json.loads(key_set(key))["keys"]:
        yield f"{jwks}: is not the public half of api.key: delete it to have it made anew"


def _keys(path: Path) -> object:
    try:
        document = json.loads(read(path))
    except ValueError:
        return None
    return document.get("keys") if isinstance(document, dict) else None


def _bundle(directory: Path) -> Iterator[str]:
    kinds = [kind for kind in ("0", "next", "previous") if (directory / f"ca-{kind}.pem").exists()]
    path, parts = directory / "ca-bundle.pem", [f"{stem}-{kind}.pem" for kind in kinds for stem in ("server-ca", "ca")]
    if not path.exists() or not all((directory / part).exists() for part in parts):
        return
    held = {certificate_pem(certificate) for certificate in read_certificates(path)}
    if not {certificate_pem(read_certificates(directory / part)[0]) for part in parts} <= held:
        yield f"{path}: does not hold {' and '.join(parts)}: delete it to have it made anew"
