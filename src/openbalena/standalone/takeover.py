"""Taking over what the volumes hold: tokens and certificates that a deployment was made with are never made anew.

A service takes a token from its environment before it looks into the shared file of resin-data (the images' configure
step), so a new token in `.env` would lock out every device and user that knows the old one.
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

from openbalena.cluster.engine import Engine
from openbalena.errors import OperationError, UsageError
from openbalena.files import private_directory, write_atomic
from openbalena.project import Project
from openbalena.secrets import tokens as tokens_made
from openbalena.settings import Settings
from openbalena.settings.variables import variables
from openbalena.standalone import volumes
from openbalena.standalone.deployment import Standalone, name

# Where each volume is seen, as in the services (docker-compose.yml).
_MOUNTS = {"resin-data": "/balena", "certs-data": "/certs", "pki-data": "/pki"}
# Says that tokens and certificates of these volumes have been taken over once: from then on `.env` leads.
_MARK = ".open-balena"
_CA = ("ca-0.pem", "ca-0-key.pem", "server-ca-0.pem", "server-ca-0-key.pem", "ocsp.pem", "ocsp-key.pem")
# Certificates that are made anew, for the same key, where what the volume has does not fit together.
_REPLACEABLE = ("api.pem", "vpn.pem", "ocsp.pem", "ca-bundle.pem", "chain.pem", "dhparam.pem")


_ALL_ROTATED = (
    ". If you rotated every one of them since the last up: put a former value back, run up, and rotate that one again"
)


@dataclass(frozen=True)
class Found:
    """What the volumes of the Compose project `name` hold; all empty where there are none.

    `deployed` are the tokens that the last `up` had (`deployed`); empty in a mark of a version that kept none.
    """

    name: str
    tokens: Mapping[str, str] = field(default_factory=dict)
    pki: Mapping[str, bytes] = field(default_factory=dict)
    marked: bool = False
    deployed: Mapping[str, str] = field(default_factory=dict)


def find(project: Project, settings: Settings, installed_engine: Callable[[], Engine | None]) -> Found:
    """Look into the volumes; nothing is found where there is no Docker at all.

    Raises UsageError where they belong to another domain, and OperationError where an engine, or one of them, cannot be
    looked at while something is missing that they may hold: it would be made anew, and devices know the old.
    """

    found = name(project, settings)
    try:
        engine = installed_engine()
        if engine is None:
            return Found(found)
        with engine.client() as client:
            return _read(client, found, settings["DNS_TLD"])
    except OperationError as error:
        if not tokens_made.missing(settings) and (Path(settings["PKI_DIR"]) / "ca-0.pem").exists():
            return Found(found)
        raise OperationError(
            f"nothing was made: tokens or certificates are missing, and whether volumes {found}_* of an earlier "
            f"deployment hold them could not be seen (new ones would lock its devices and users out): {error}"
        ) from None


def tokens(shared: bytes) -> dict[str, str]:
    """The tokens in the shared file, whose lines are NAME=value as they stand."""
    lines = (line.partition("=") for line in shared.decode(errors="replace").splitlines())
    return {key: value for key, _, value in lines if key in variables() and variables()[key].token and value}


def certificates(files: Mapping[str, bytes], dns_tld: str) -> dict[str, bytes]:
    """The files of the PKI directory, by the names there, as far as the volumes hold them; all or none of the CA's."""
    found = {name_: files[path] for name_, path in _places(dns_tld).items() if files.get(path)}
    return found if "ca-0.pem" in found and "ca-0-key.pem" in found else {}


def _places(dns_tld: str) -> dict[str, str]:
    """Where the volumes have each file of the PKI directory."""
    private = "/certs/private"
    return {name_: f"/pki/{name_}" for name_ in _CA} | {
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
    """Make `pki` the PKI directory, complete or not at all; raises UsageError where its keys do not belong together."""
    from openbalena.secrets.check import problems

    half_made = directory.with_name(f".{directory.name}.adopting")
    shutil.rmtree(half_made, ignore_errors=True)
    private_directory(half_made)
    for name_, content in pki.items():
        secret = "key" in name_.split(".", 1)[0] or name_.endswith("key") or name_ == "chain.pem"
        write_atomic(half_made / name_, content, 0o600 if secret else 0o644)
    for name_ in _REPLACEABLE:
        if any(sentence.startswith(f"{half_made / name_}:") for sentence in problems(half_made, dns_tld)):
            (half_made / name_).unlink()
    if wrong := problems(half_made, dns_tld):
        raise UsageError("\n".join(wrong))
    if directory.exists():
        directory.rmdir()  # empty, as the caller has seen
    half_made.rename(directory)


def check(standalone: Standalone) -> None:
    """Raise UsageError where the volumes hold another CA than the project, or, never taken over, other tokens."""
    with standalone.engine.client() as client:
        found = _read(client, standalone.name, standalone.settings["DNS_TLD"])
    if wrong := differing(found, standalone.settings, standalone.project.env_file):
        raise UsageError(wrong)


def differing(found: Found, values: Mapping[str, str], env_file: Path) -> str:
    """What the volumes have and the project has not, with what to do about it; "" where nothing is wrong.

    Where the CA is another one, the mark is of another project's tokens: the volumes' count then. So they do where
    `.env` was made anew: rotations change tokens one by one, and the next `up` notes them.
    """
    authority = Path(values["PKI_DIR"]) / "ca-0.pem"
    other_ca = (
        "ca-0.pem" in found.pki and authority.exists() and not _same(authority.read_bytes(), found.pki["ca-0.pem"])
    )
    names = sorted(key for key, value in found.tokens.items() if values.get(key) != value)
    other_tokens = names if other_ca or not found.marked or _made_anew(found, values) else []
    whose = [
        *([f"{env_file}: {', '.join(names)}: not what the volume {found.name}_resin-data has"] if other_tokens else []),
        *([f"{authority}: not the CA in the volume {found.name}_pki-data"] if other_ca else []),
    ]
    steps = [
        *(["delete these lines"] if other_tokens else []),
        *([f"move {authority.parent} away"] if other_ca else []),
    ]
    return (
        f"{'; '.join(whose)}, which users and devices know: {' and '.join(steps)}, then run ./open-balena.sh config, "
        f"which takes what the volumes have{_ALL_ROTATED * (found.marked and not other_ca)}"
        if whose
        else ""
    )


def seed(standalone: Standalone) -> bool:
    """Give balena-ca, which makes only what is missing, the project's CA; False where it has one already."""
    directory = Path(standalone.settings["PKI_DIR"])
    with standalone.engine.client() as client:
        if "ca-0.pem" in _read(client, standalone.name, standalone.settings["DNS_TLD"]).pki:
            return False
        files = {name_: (directory / name_) for name_ in _CA}
        if not all(path.exists() for path in files.values()):
            raise UsageError(f"{directory}: not complete: run ./open-balena.sh config")
        for _ in standalone.stream("create", "--no-build", "--quiet-pull", "balena-ca", limit=1800):
            pass
        (holder,) = client.api.containers(
            all=True,
            filters={
                "label": [f"com.docker.compose.project={standalone.name}", "com.docker.compose.service=balena-ca"]
            },
        )
        modes = {name_: 0o600 if "key" in name_ else 0o644 for name_ in _CA}
        volumes.write(
            client, holder["Id"], "/pki", {name_: (path.read_bytes(), modes[name_]) for name_, path in files.items()}
        )
    return True


def done(standalone: Standalone) -> None:
    """Mark the volumes: from now on the project's tokens are theirs, also after a rotation."""
    volume = f"{standalone.name}_resin-data"
    mark = json.dumps(deployed(standalone.settings)).encode()
    with standalone.engine.client() as client, volumes.holder(client, {volume: "/balena"}) as holder:
        volumes.write(client, holder, "/balena", {_MARK: (mark, 0o600)})


def deployed(values: Mapping[str, str]) -> dict[str, str]:
    """Digests of random tokens, by name; not of passwords, which may be a person's own and short enough to guess."""
    return {
        name_: hashlib.sha256(values[name_].encode()).hexdigest()
        for name_, variable in variables().items()
        if variable.token and not name_.endswith("_PASSWORD") and values.get(name_)
    }


def _made_anew(found: Found, values: Mapping[str, str]) -> bool:
    """Whether none of the tokens that the deployment had is in `values`."""
    before, now = found.deployed or deployed(found.tokens), deployed(values)
    return len(before) > 1 and all(now.get(name_) != digest for name_, digest in before.items())


def _noted(mark: bytes | None) -> dict[str, str]:
    try:
        noted = json.loads(mark or b"{}")
    except ValueError:
        # Torn by whoever else has the volume: the shared file says what there was.
        return {}
    return {str(key): str(value) for key, value in noted.items()} if isinstance(noted, dict) else {}


def _read(client: Any, project: str, dns_tld: str) -> Found:
    there = volumes.existing(client, [f"{project}_{volume}" for volume in _MOUNTS])
    if not there:
        return Found(project)
    mine, mark = f"/balena/{dns_tld}.env", f"/balena/{_MARK}"
    wanted = {mine, mark, *_places(dns_tld).values()}
    mounts = {volume: _MOUNTS[volume.removeprefix(f"{project}_")] for volume in there}
    files = volumes.read(client, mounts, wanted.__contains__)
    shared = {path for path in files if posixpath.dirname(path) == "/balena" and path.endswith(".env")}
    if shared and mine not in shared:
        domains = ", ".join(sorted(path.removeprefix("/balena/").removesuffix(".env") for path in shared))
        raise UsageError(
            f"DNS_TLD is {dns_tld}, but the volume {project}_resin-data belongs to {domains}: set DNS_TLD to that, or "
            "COMPOSE_PROJECT_NAME to another name for a second deployment"
        )
    known = {path: content for path, content in files.items() if content is not None}
    return Found(
        project, tokens(known.get(mine, b"")), certificates(known, dns_tld), mark in files, _noted(files.get(mark))
    )


def _same(one: bytes, other: bytes) -> bool:
    from cryptography import x509

    return x509.load_pem_x509_certificate(one) == x509.load_pem_x509_certificate(other)
