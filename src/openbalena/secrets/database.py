"""The login of the internal database: which role the api uses, and the statements that open and close one.

openBalena's image fixes the owner of everything, `docker` with the password `docker` (open-balena-db 8.0.16,
Dockerfile). Two further roles log in in turn and then act as the owner, so that what they make is the owner's,
whichever is in use, and the api has the rights that its extensions need. One gets a new password while the other goes
on working.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from openbalena import placeholder
from openbalena.settings.types import DATABASE_OWNER, DATABASE_ROLES

SERVICE = "db"
ROLES, OWNER, DATABASE = DATABASE_ROLES, DATABASE_OWNER, "resin"
# The services that log in.
USERS = ("api", "postgrest")
# PostgreSQL's scram_iterations.
_ITERATIONS = 4096
# What the owner's comment says is the role of the last deploy that succeeded.
NOTED = "SELECT coalesce(shobj_description('docker'::regrole, 'pg_authid'), '')"


@dataclass(frozen=True)
class Login:
    """A role and its password."""

    role: str
    password: str

    def line(self) -> str:
        """A line of a password file (PostgreSQL, libpq, The Password File)."""
        escaped = self.password.replace("\\", "\\\\").replace(":", "\\:")
        return f"*:*:*:{self.role}:{escaped}\n"


# What the image makes, and what a deployment has until DB_PASSWORD is set.
IMAGES = Login(OWNER, "docker")


def in_use(settings: Mapping[str, str]) -> Login | None:
    """The login that the settings name; None where the database is external or still has the image's."""
    if settings.get("EXTERNAL_POSTGRES") == "true" or not settings.get("DB_PASSWORD"):
        return None
    return Login(settings["DB_USER"], settings["DB_PASSWORD"])


def flat(settings: Mapping[str, str]) -> dict[str, str]:
    """The login for definitions that can name one variable alone, not one in the place of another (`docker stack`)."""
    login = in_use(settings)
    if login is None:
        return {}
    return {"EXTERNAL_POSTGRES_USER": login.role, "EXTERNAL_POSTGRES_PASSWORD": placeholder.mark("DB_PASSWORD")}


def successor(login: Login | None, password: str) -> Login:
    """The role that comes after `login`, with `password`."""
    return Login(ROLES[1] if login and login.role == ROLES[0] else ROLES[0], password)


def noted(login: Login) -> str:
    """What NOTED answers where the last deploy that succeeded had `login`."""
    return f"openBalena logs in as {login.role}"


def opened(login: Login) -> str:
    """Statements that make the role, or give it another password. They hold no password, but what checks one.

    So no password comes into the server's log, whatever it logs (PostgreSQL, CREATE ROLE, PASSWORD).
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
    """Statements after which nobody logs in over the network but `login`; sessions that are open go on.

    The owner can still be used within the database's container, as the image's entry and pg_upgrade do: pg_hba.conf
    trusts its socket.
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
    """What the server keeps of a password (RFC 5803, RFC 7677), with a random salt where none is given."""
    salt = salt or secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ITERATIONS)
    client = hmac.digest(salted, b"Client Key", "sha256")
    server = hmac.digest(salted, b"Server Key", "sha256")
    stored = hashlib.sha256(client).digest()
    words = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${_ITERATIONS}:{words[0]}${words[1]}:{words[2]}"
