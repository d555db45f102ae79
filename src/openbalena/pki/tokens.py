"""Create and rotate tokens: random values that services authenticate to each other with."""

import os
import secrets
from collections.abc import Mapping

from openbalena.base.errors import UsageError
from openbalena.base.files import write_atomic
from openbalena.base.project import Project
from openbalena.compose import dotenv
from openbalena.pki import database_login
from openbalena.settings import envfile, put_aside
from openbalena.settings.characters import unfit_value
from openbalena.settings.rules import malformed
from openbalena.settings.variables import variables

# Tokens whose previous value is accepted until all clients have the new one, and where the previous value is kept.
PREVIOUS = {"REDIS_PASSWORD": "REDIS_PASSWORD_PREVIOUS"}


def missing_tokens(values: Mapping[str, str]) -> dict[str, str]:
    """A new value for each token missing from `values`: 16 random bytes in hex, as the images' configure step makes.

    The database's password and role are created only if there are no tokens yet: an existing deployment may have a
    database with the image's password. All values are also valid S3 access keys (letters and digits, more than 8
    characters).
    """
    tokens = {name: variable for name, variable in variables().items() if variable.token}
    # Ignores passwords, which the user may have set before the first run.
    new = not any(values.get(name) for name in tokens if not name.endswith("_PASSWORD"))
    made = {
        name: secrets.token_hex(16)
        for name, variable in tokens.items()
        if not values.get(name) and (new or not variable.new_only)
    }
    if "DB_PASSWORD" in made and values.get("EXTERNAL_POSTGRES") == "true":
        del made["DB_PASSWORD"]
    return {**made, "DB_USER": database_login.ROLES[0]} if "DB_PASSWORD" in made else made


def overlapping(values: Mapping[str, str]) -> list[str]:
    """The tokens whose previous value is still accepted: their rotation is not complete until it no longer is."""
    return [name for name, previous in PREVIOUS.items() if values.get(previous)]


def drop_previous_tokens(project: Project) -> list[str]:
    """Remove the previous values from `.env`; returns the names of their tokens.

    Call it only when no task uses the previous values any more.
    """
    if not project.env_file.exists():
        return []
    names = overlapping(dotenv.read_file(project.env_file).values)
    if names:
        write_tokens(project, {PREVIOUS[name]: "" for name in names})
    return names


def rotate_tokens(project: Project, name: str) -> None:
    """Give the token `name` a new value in `.env`. Raises UsageError like `new_value`.

    The old value of a token in PREVIOUS is kept in its own variable.
    """
    new, old = new_value(project, name), dotenv.read_file(project.env_file).values.get(name, "")
    write_tokens(project, {name: new} | ({PREVIOUS[name]: old} if name in PREVIOUS else {}))


def new_value(project: Project, name: str) -> str:
    """A new value for the token `name`: from the environment variable of that name, or random.

    Raises UsageError if `name` is not a token, is not set yet or is still being rotated, and for an invalid value.
    """
    names = [variable.name for variable in variables().values() if variable.token]
    if name not in names:
        raise UsageError(f"unknown token {name}: expected one of {', '.join(names)}, or CA")
    if not project.env_file.exists():
        raise UsageError(put_aside(project) or f"{project.env_file}: missing: run ./open-balena.sh config")
    file = dotenv.read_file(project.env_file)
    old = file.values.get(name, "")
    if not old and not variables()[name].new_only:
        raise UsageError(f"{project.env_file}: {name} is not set: run ./open-balena.sh config to create it")
    if name in overlapping(file.values):
        raise UsageError(
            f"{project.env_file}: {PREVIOUS[name]} is set: tasks may still use it, and a third value would lock them "
            f"out: run ./open-balena.sh swarm-up (up on one machine) to complete the rotation of {name}"
        )
    new = os.environ.get(name) or secrets.token_hex(16)
    if new == old:
        raise UsageError(
            f"environment variable {name} has the current value and takes precedence over .env: unset it, or set it to "
            "the new value"
        )
    if problem := malformed(name, new) or dict(unfit_value({name: new}, cluster=True)).get(name):
        raise UsageError(f"environment variable {name}: {problem}")
    return new


def write_tokens(project: Project, values: Mapping[str, str]) -> None:
    """Update `.env` with `values`, atomically."""
    file = dotenv.read_file(project.env_file)
    write_atomic(project.env_file.resolve(), envfile.update(file, values), 0o600)
