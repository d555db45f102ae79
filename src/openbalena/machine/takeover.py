"""Adopt the tokens and certificates in the volumes of an existing deployment, instead of generating new ones.

A service prefers a token in its environment to the one in the shared file of resin-data (the images' configure step),
so a new token in `.env` would lock out every device and user that has the old one.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openbalena.base.errors import OperationError, UsageError
from openbalena.base.files import private_directory, write_atomic
from openbalena.base.names import ADOPTED_MARK, COMPOSE_SERVICE_LABEL, PROJECT_LABEL, full_name, short_name
from openbalena.base.project import Project
from openbalena.docker.engine import Engine
from openbalena.machine import volumes
from openbalena.machine.deployment import Standalone, compose_project_name
from openbalena.pki import tokens as tokens_made
from openbalena.settings import Settings
from openbalena.settings.variables import variables

# Where each volume is mounted, as in the services (docker-compose.yml).
_MOUNTS = {"resin-data": "/balena", "certs-data": "/certs", "pki-data": "/pki"}
CA = ("ca-0.pem", "ca-0-key.pem", "server-ca-0.pem", "server-ca-0-key.pem", "ocsp.pem", "ocsp-key.pem")
# Files that are regenerated, for the same key, if those in the volume do not match.
_REPLACEABLE = ("api.pem", "vpn.pem", "ocsp.pem", "ca-bundle.pem", "chain.pem", "dhparam.pem")


_ALL_ROTATED = (
    ". If you have rotated all of them since the last up: restore one old value, run up, and rotate that token again"
)


@dataclass(frozen=True)
class Found:
    """The contents of the volumes of Compose project `name`; all empty if there are no volumes.

    `deployed` are digests of the tokens of the last `up` (see `deployed`); empty if an older version wrote the marker.
    """

    name: str
    tokens: Mapping[str, str] = field(default_factory=dict)
    pki: Mapping[str, bytes] = field(default_factory=dict)
    marked: bool = False
    deployed: Mapping[str, str] = field(default_factory=dict)


def inspect_volumes(project: Project, settings: Settings, installed_engine: Callable[[], Engine | None]) -> Found:
    """Read the volumes; without Docker, an empty result.

    Raises UsageError if they belong to another domain, and OperationError if they cannot be read while tokens or
    certificates are missing that they may contain: those would be regenerated, although devices have the old ones.
    """

    project_name = compose_project_name(project, settings)
    try:
        engine = installed_engine()
        if engine is None:
            return Found(project_name)
        with engine.client() as client:
            return _read(client, project_name, settings["DNS_TLD"])
    except OperationError as error:
        if not tokens_made.missing_tokens(settings) and (Path(settings["PKI_DIR"]) / "ca-0.pem").exists():
            return Found(project_name)
        raise OperationError(
            "nothing was created: tokens or certificates are missing, and volumes of an earlier deployment "
            f"({project_name}_*) could not be checked for them (new ones would lock out its devices and users): {error}"
        ) from None


def tokens(shared: bytes) -> dict[str, str]:
    """The tokens in the shared file, whose lines are NAME=value without quoting."""
    lines = (line.partition("=") for line in shared.decode(errors="replace").splitlines())
    return {key: value for key, _, value in lines if key in variables() and variables()[key].token and value}


def certificates(files: Mapping[str, bytes], dns_tld: str) -> dict[str, bytes]:
    """The contents of the PKI files that the volumes contain, by file name; none if the CA is incomplete."""
    pki = {name_: files[path] for name_, path in _places(dns_tld).items() if files.get(path)}
    return pki if "ca-0.pem" in pki and "ca-0-key.pem" in pki else {}


def _places(dns_tld: str) -> dict[str, str]:
    """The path of each PKI file in the volumes."""
    private = "/certs/private"
    return {name_: f"/pki/{name_}" for name_ in CA} | {
        "api.pem": f"{private}/api.{dns_tld}.pem",
        "api.key": f"{private}/api.{dns_tld}.key",
        "vpn.pem": f"{private}/vpn.{dns_tld}.pem",
        "vpn.key": f"{private}/vpn.{dns_tld}.key",
        "dhparam.pem": f"{private}/dhparam.{dns_tld}.pem",
        "devices.rsa.key": f"{private}/devices.{dns_tld}.rsa.key",
        "devices.rsa.key.pub": f"{private}/devices.{dns_tld}.rsa.key.pub",
        "ca-bundle.pem": f"{private}/ca-bundle.{dns_tld}.pem",
        "chain.pem": "/certs/export/chain.pem",
    }


def adopt(directory: Path, pki: Mapping[str, bytes], dns_tld: str) -> None:
    """Create the PKI directory from `pki`, completely or not at all; raises UsageError if its files do not match."""
    from openbalena.pki.consistency import pki_problems

    half_made = directory.with_name(f".{directory.name}.adopting")
    shutil.rmtree(half_made, ignore_errors=True)
    private_directory(half_made)
    for name_, content in pki.items():
        secret = "key" in name_.split(".", 1)[0] or name_.endswith("key") or name_ == "chain.pem"
        write_atomic(half_made / name_, content, 0o600 if secret else 0o644)
    for name_ in _REPLACEABLE:
        if str(half_made / name_) in {problem.key for problem in pki_problems(half_made, dns_tld)}:
            (half_made / name_).unlink()
    if wrong := pki_problems(half_made, dns_tld):
        raise UsageError("\n".join(map(str, wrong)))
    if directory.exists():
        directory.rmdir()  # empty, as the caller has checked
    half_made.rename(directory)


def require_same_identity(standalone: Standalone) -> None:
    """Raise UsageError if the volumes have a different CA than the project or, before adoption, different tokens."""
    with standalone.engine.client() as client:
        found = _read(client, standalone.name, standalone.settings["DNS_TLD"])
    if wrong := conflicts(found, standalone.settings, standalone.project.env_file):
        raise UsageError(wrong)


def conflicts(found: Found, values: Mapping[str, str], env_file: Path) -> str:
    """How the volumes differ from the project, and what to do about it; "" if they do not.

    If the CA differs, another project wrote the marker, so tokens are compared despite it. So they are if `.env` was
    recreated: unlike rotations, which change tokens one by one and are recorded by the next `up`, that changes all.
    """
    authority = Path(values["PKI_DIR"]) / "ca-0.pem"
    other_ca = _has_other_ca(found, authority)
    names = sorted(key for key, value in found.tokens.items() if values.get(key) != value)
    other_tokens = names if other_ca or not found.marked or _regenerated(found, values) else []
    whose = [
        *(
            [f"{env_file}: {', '.join(names)}: not the values in volume {found.name}_resin-data"]
            if other_tokens
            else []
        ),
        *([f"{authority}: not the CA in volume {found.name}_pki-data"] if other_ca else []),
    ]
    steps = [
        *(["delete these lines"] if other_tokens else []),
        *([f"move {authority.parent} aside"] if other_ca else []),
    ]
    return (
        f"{'; '.join(whose)}. Users and devices rely on those: {' and '.join(steps)}, then run ./open-balena.sh "
        f"config, which adopts the values in the volumes{_ALL_ROTATED * (found.marked and not other_ca)}"
        if whose
        else ""
    )


def has_other_ca(standalone: Standalone) -> bool:
    """Whether the volumes have a CA that is not the project's."""
    with standalone.engine.client() as client:
        found = _read(client, standalone.name, standalone.settings["DNS_TLD"])
    return _has_other_ca(found, Path(standalone.settings["PKI_DIR"]) / "ca-0.pem")


def seed_balena_ca(standalone: Standalone) -> bool:
    """Give balena-ca, which creates only what is missing, the project's CA; False if it already has one."""
    directory = Path(standalone.settings["PKI_DIR"])
    with standalone.engine.client() as client:
        if "ca-0.pem" in _read(client, standalone.name, standalone.settings["DNS_TLD"]).pki:
            return False
        files = {name_: (directory / name_) for name_ in CA}
        if not all(path.exists() for path in files.values()):
            raise UsageError(f"{directory}: incomplete: run ./open-balena.sh config")
        for _ in standalone.stream("create", "--no-build", "--quiet-pull", "balena-ca", limit=1800):
            pass
        (holder,) = client.api.containers(
            all=True,
            filters={"label": [f"{PROJECT_LABEL}={standalone.name}", f"{COMPOSE_SERVICE_LABEL}=balena-ca"]},
        )
        modes = {name_: 0o600 if "key" in name_ else 0o644 for name_ in CA}
        volumes.write_file(
            client, holder["Id"], "/pki", {name_: (path.read_bytes(), modes[name_]) for name_, path in files.items()}
        )
    return True


def mark_adopted(standalone: Standalone) -> None:
    """Mark the volumes as adopted: from now on the project's tokens apply, also after a rotation."""
    volume = full_name(standalone.name, "resin-data")
    mark = json.dumps(is_deployed(standalone.settings)).encode()
    with standalone.engine.client() as client, volumes.volume_container(client, {volume: "/balena"}) as holder:
        volumes.write_file(client, holder, "/balena", {ADOPTED_MARK: (mark, 0o600)})


def is_deployed(values: Mapping[str, str]) -> dict[str, str]:
    """Digests of random tokens, by name; not of passwords, which a user may have chosen and which may be guessable."""
    return {
        name_: hashlib.sha256(values[name_].encode()).hexdigest()
        for name_, variable in variables().items()
        if variable.token and not name_.endswith("_PASSWORD") and values.get(name_)
    }


def _has_other_ca(found: Found, authority: Path) -> bool:
    return "ca-0.pem" in found.pki and authority.exists() and not _same(authority.read_bytes(), found.pki["ca-0.pem"])


def _regenerated(found: Found, values: Mapping[str, str]) -> bool:
    """Whether `values` has none of the tokens that were deployed."""
    before, now = found.deployed or is_deployed(found.tokens), is_deployed(values)
    return len(before) > 1 and all(now.get(name_) != digest for name_, digest in before.items())


def _noted(mark: bytes | None) -> dict[str, str]:
    try:
        digests = json.loads(mark or b"{}")
    except ValueError:
        # Damaged by another user of the volume: the shared file is used instead.
        return {}
    return {str(key): str(value) for key, value in digests.items()} if isinstance(digests, dict) else {}


def _read(client: Any, project: str, dns_tld: str) -> Found:
    there = volumes.existing_volumes(client, [full_name(project, volume) for volume in _MOUNTS])
    if not there:
        return Found(project)
    mine, mark = f"/balena/{dns_tld}.env", f"/balena/{ADOPTED_MARK}"
    needed = {mine, mark, *_places(dns_tld).values()}
    mounts = {volume: _MOUNTS[short_name(project, volume)] for volume in there}
    files = volumes.read_file(client, mounts, needed.__contains__)
    shared = {path for path in files if posixpath.dirname(path) == "/balena" and path.endswith(".env")}
    if shared and mine not in shared:
        domains = ", ".join(sorted(path.removeprefix("/balena/").removesuffix(".env") for path in shared))
        raise UsageError(
            f"DNS_TLD is {dns_tld}, but volume {project}_resin-data belongs to {domains}: correct DNS_TLD, or set "
            "COMPOSE_PROJECT_NAME to another name for a second deployment"
        )
    contents = {path: content for path, content in files.items() if content is not None}
    return Found(
        project,
        tokens(contents.get(mine, b"")),
        certificates(contents, dns_tld),
        mark in files,
        _noted(files.get(mark)),
    )


def _same(one: bytes, other: bytes) -> bool:
    from cryptography import x509

    return x509.load_pem_x509_certificate(one) == x509.load_pem_x509_certificate(other)
