"""The login of the internal database: which role the api uses, and the SQL that enables and disables roles.

openBalena's image hard-codes the owner of everything, `docker` with the password `docker` (open-balena-db 8.0.16,
Dockerfile). Two further roles are used alternately and act as the owner after login, so that the owner owns everything
they create, whichever is in use, and the api has the privileges that its extensions need. One role gets a new password
while the other keeps working.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from openbalena.base import placeholder
from openbalena.base.names import DATABASE_ROLES
from openbalena.settings.types import DATABASE_OWNER

SERVICE = "db"
ROLES, OWNER, DATABASE = DATABASE_ROLES, DATABASE_OWNER, "resin"
# The services that log in.
USERS = ("api", "postgrest")
# PostgreSQL's scram_iterations.
_ITERATIONS = 4096
# The comment on the owner role records the role of the last successful deploy.
NOTED = "SELECT coalesce(shobj_description('docker'::regrole, 'pg_authid'), '')"


@dataclass(frozen=True)
class Login:
    """A role and its password."""

    role: str
    password: str

    def line(self) -> str:
        """A line for a libpq password file (PostgreSQL, libpq, The Password File)."""
        escaped = self.password.replace("\\", "\\\\").replace(":", "\\:")
        return f"*:*:*:{self.role}:{escaped}\n"


# The image's default, in use until DB_PASSWORD is set.
IMAGES = Login(OWNER, "docker")


def in_use(settings: Mapping[str, str]) -> Login | None:
    """The login in the settings; None if the database is external or still has the image's default login."""
    if settings.get("EXTERNAL_POSTGRES") == "true" or not settings.get("DB_PASSWORD"):
        return None
    return Login(settings["DB_USER"], settings["DB_PASSWORD"])


def flat(settings: Mapping[str, str]) -> dict[str, str]:
    """The login as variables for Compose files that cannot fall back from one variable to another (`docker stack`)."""
    login = in_use(settings)
    if login is None:
        return {}
    return {
        "EXTERNAL_POSTGRES_USER": login.role,
        "EXTERNAL_POSTGRES_PASSWORD": placeholder.placeholder_for("DB_PASSWORD"),
    }


def successor(login: Login | None, password: str) -> Login:
    """The role that replaces `login`, with `password`."""
    return Login(ROLES[1] if login and login.role == ROLES[0] else ROLES[0], password)


def noted(login: Login) -> str:
    """The result of NOTED if the last successful deploy used `login`."""
    return f"openBalena logs in as {login.role}"


def opened(login: Login) -> str:
    """Statements that create the role or change its password, given as a SCRAM verifier instead of in plain text.

    So the password never appears in the server's log, whatever it logs (PostgreSQL, CREATE ROLE, PASSWORD).
    """
    return f"""BEGIN;
DO $$ BEGIN
    IF to_regrole('{login.role}') IS NULL THEN CREATE ROLE {login.role}; END IF;
END $$;
ALTER ROLE {login.role} LOGIN PASSWORD '{verifier(login.password)}';
GRANT {OWNER} TO {login.role};
ALTER ROLE {login.role} SET role = '{OWNER}';
COMMIT;
"""


def closed(login: Login) -> str:
    """Statements that leave `login` as the only one that can log in over the network; open sessions are kept.

    The owner can still be used inside the database's container, as the image's entrypoint and pg_upgrade do:
    pg_hba.conf trusts connections over the socket.
    """
    other = next(role for role in ROLES if role != login.role)
    return f"""BEGIN;
ALTER ROLE {OWNER} PASSWORD NULL;
DO $$ BEGIN
    IF to_regrole('{other}') IS NOT NULL THEN ALTER ROLE {other} NOLOGIN PASSWORD NULL; END IF;
END $$;
COMMENT ON ROLE {OWNER} IS '{noted(login)}';
COMMIT;
"""


def verifier(password: str, salt: bytes = b"") -> str:
    """The SCRAM verifier that the server stores for a password (RFC 5803, RFC 7677); the default is a random salt."""
    salt = salt or secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ITERATIONS)
    client = hmac.digest(salted, b"Client Key", "sha256")
    server = hmac.digest(salted, b"Server Key", "sha256")
    stored = hashlib.sha256(client).digest()
    salt64, stored64, server64 = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256${_ITERATIONS}:{salt64}${stored64}:{server64}"
