"""The base image of all stand-ins: a Debian root imported into an engine, with the configure step on top."""

import hashlib
import json
import subprocess
from pathlib import Path

from openbalena.base.errors import OperationError
from openbalena.base.project import ROOT
from openbalena.docker.engine import Engine
from openbalena.images import LAB_PREFIX, Build, build, tagged
from openbalena.lab import host, paths
from openbalena.lab.host import say
from openbalena.lab.roots import build_root

# The BASE of every stand-in in lab/docker-compose.yml.
IMAGE = f"{LAB_PREFIX}/base:latest"

# trixie has HAProxy 3.0, which our HAProxy configuration is tested with, PostgreSQL 17 and docker-registry 2.8.
SUITE = "trixie"
PACKAGES = (
    *("postgresql-17", "redis-server", "haproxy", "docker-registry", "openvpn"),
    *("inotify-tools", "openssl", "curl", "iproute2", "procps", "ca-certificates"),
    # cffi-backend: debootstrap does not resolve the virtual package that python3-cryptography depends on.
    *("python3", "python3-psycopg2", "python3-redis", "python3-jwt", "python3-cryptography", "python3-cffi-backend"),
    # For images/backup, which installs nothing on a base that has them.
    *("restic", "rclone"),
    # An ACME client with the plugin that the real cert-manager uses, and an ACME server.
    *("python3-certbot-dns-cloudflare", "pebble"),
)
# A third of the root's size that no stand-in needs, such as PostgreSQL's just-in-time compiler.
_LEFT_OUT = (
    *("./dev/*", "./proc/*", "./sys/*", "./run/*", "./tmp/*", "./var/cache/*", "./var/log/*", "./var/tmp/*"),
    *("./usr/share/bash-completion", "./usr/share/doc", "./usr/share/man", "./usr/share/i18n", "./usr/share/icu"),
    *("./usr/share/locale", "./usr/share/info", "./var/lib/apt/lists/*", "./var/lib/postgresql/17"),
    *("./usr/lib/*/libLLVM*", "./usr/lib/*/libz3.so*", "./usr/lib/postgresql/17/lib/bitcode"),
    "./usr/lib/postgresql/17/lib/llvmjit*",
)
_ENVIRONMENT = (
    "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "ENV LANG=C.UTF-8 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1",
)
# Seconds; 10 is typical.
_IMPORT = 600


def ensure_base_image(engine: Engine) -> str:
    """Build the image IMAGE on `engine` unless it is up to date; returns its name with the content's tag.

    Must run as root if the Debian root must be created or read. Raises OperationError on failure.
    """
    with host.locked(paths.directory() / "locks" / "base", "building the stand-ins' base image"):
        root = f"{LAB_PREFIX}/root:{_key()}"
        if not build.image_id(engine, root):
            _import(engine, root)
        recipe = Build(
            service="base",
            variable="",
            repository=f"{LAB_PREFIX}/base",
            tag="latest",
            context=ROOT / "lab" / "common",
            dockerfile="Dockerfile",
            args={"BASE": root},
        )
        (base,) = tagged([recipe], build.base_ids(engine))
        if not build.image_id(engine, base.image):
            build.build(engine, base, lambda line: None)
        engine.docker("tag", *base.names)
    return base.image


def _key() -> str:
    """Twelve hex digits of the hash of everything that determines the imported image."""
    parts = (SUITE, PACKAGES, _LEFT_OUT, _ENVIRONMENT)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def _import(engine: Engine, image: str) -> None:
    """Stream the root into the engine as one layer, without a temporary file."""
    host.require_root("building the stand-ins' base image")
    root = build_root("images", SUITE, PACKAGES)
    say(f"importing {root.name} as {image} (about 10 s, at most {_IMPORT / 60:.0f} minutes)")
    excluded = [f"--exclude={pattern}" for pattern in _LEFT_OUT]
    changes = [argument for change in _ENVIRONMENT for argument in ("--change", change)]
    with subprocess.Popen(
        ["tar", "--create", "--numeric-owner", "--anchored", "--wildcards", *excluded, f"--directory={root}", "."],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    ) as archive:
        try:
            imported = subprocess.run(
                engine.command("import", *changes, "-", image),
                env=engine.process_environment(),
                stdin=archive.stdout,
                capture_output=True,
                text=True,
                timeout=_IMPORT,
            )
        except subprocess.TimeoutExpired:
            raise OperationError(f"{engine.name} did not import the base image within {_IMPORT} s") from None
        finally:
            archive.kill()
    if imported.returncode or archive.returncode:
        raise OperationError(
            f"{engine.name} could not import {Path(root).name}: {imported.stderr.strip() or 'tar failed'}"
        )
