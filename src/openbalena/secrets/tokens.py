"""Creating and rotating tokens: random values that services authenticate to each other with."""

import os
import secrets
from collections.abc import Mapping

from openbalena import dotenv
from openbalena.errors import UsageError
from openbalena.files import write_atomic
from openbalena.project import Project
from openbalena.secrets import database
from openbalena.settings import envfile, put_aside
from openbalena.settings.characters import unfit
from openbalena.settings.rules import malformed
from openbalena.settings.variables import variables

# Tokens whose old value is accepted until all that show it have the new one, and where the old value is kept.
PREVIOUS = {"REDIS_PASSWORD": "REDIS_PASSWORD_PREVIOUS"}


def missing(values: Mapping[str, str]) -> dict[str, str]:
    """A new token for each that `values` lacks: 16 random bytes in hex, the form the images' configure step makes.

    The database's password, with the role that has it, only where there is no token yet: a deployment that has some
    may have a database with its image's password. All are also valid as access keys of an S3 store (letters and digits,
    more than 8 characters).
    """
    tokens = {name: variable for name, variable in variables().items() if variable.token}
    # A password may have been chosen before the others are made.
    new = not any(values.get(name) for name in tokens if not name.endswith("_PASSWORD"))
    made = {
        name: secrets.token_hex(16)
        for name, variable in tokens.items()
        if not values.get(name) and (new or not variable.new_only)
    }
    if "DB_PASSWORD" in made and values.get("EXTERNAL_POSTGRES") == "true":
        del made["DB_PASSWORD"]
    return {**made, "DB_USER": database.ROLES[0]} if "DB_PASSWORD" in made else made


def overlapping(values: Mapping[str, str]) -> list[str]:
    """The tokens of which both values are accepted: their rotation is complete when the old one no longer is."""
    return [name for name, previous in PREVIOUS.items() if values.get(previous)]


def complete(project: Project) -> list[str]:
    """Remove old values that are still accepted from `.env`; the tokens of which there were some.

    Only when no task shows them any more.
    """
    if not project.env_file.exists():
        return []
    names = overlapping(dotenv.read(project.env_file).values)
    if names:
        write(project, {PREVIOUS[name]: "" for name in names})
    return names


def rotate(project: Project, name: str) -> None:
    """Give the token `name` another value in `.env`. Raises UsageError as `new_value` does.

    The value that a token of PREVIOUS had is kept beside it.
    """
    new, old = new_value(project, name), dotenv.read(project.env_file).values.get(name, "")
    write(project, {name: new} | ({PREVIOUS[name]: old} if name in PREVIOUS else {}))


def new_value(project: Project, name: str) -> str:
    """Another value for the token `name`: the environment variable's, or a random one.

    Raises UsageError for a name that is no token, one that is not set yet, one whose last rotation is not complete, and
    a value that cannot be one.
    """
    names = [variable.name for variable in variables().values() if variable.token]
    if name not in names:
        raise UsageError(f"{name}: no token; there are {', '.join(names)}, and CA")
    if not project.env_file.exists():
        raise UsageError(put_aside(project) or f"{project.env_file}: not there: run ./open-balena.sh config")
    file = dotenv.read(project.env_file)
    old = file.values.get(name, "")
    if not old and not variables()[name].new_only:
        raise UsageError(f"{project.env_file}: {name} is not set: ./open-balena.sh config makes it")
    if name in overlapping(file.values):
        raise UsageError(
            f"{project.env_file}: {PREVIOUS[name]} is set: tasks may still show it, and a third value would lock them "
            f"out: run ./open-balena.sh swarm-up (up on one machine), which completes the rotation of {name}"
        )
    new = os.environ.get(name) or secrets.token_hex(16)
    if new == old:
        raise UsageError(
            f"environment variable {name} is the present value and wins over .env: unset it, or set it to the new one"
        )
    if problem := malformed(name, new) or dict(unfit({name: new}, cluster=True)).get(name):
        raise UsageError(f"environment variable {name}: {problem}")
    return new


def write(project: Project, values: Mapping[str, str]) -> None:
    """Put `values` into `.env`, in one step."""
    file = dotenv.read(project.env_file)
    write_atomic(project.env_file.resolve(), envfile.update(file, values), 0o600)
