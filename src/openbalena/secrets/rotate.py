"""Replacing a token in `.env`."""

import os
import secrets

from openbalena import dotenv
from openbalena.errors import UsageError
from openbalena.files import write_atomic
from openbalena.project import Project
from openbalena.settings import envfile, put_aside
from openbalena.settings.characters import unfit
from openbalena.settings.rules import malformed
from openbalena.settings.variables import variables


def rotate(project: Project, name: str) -> None:
    """Give the token `name` another value in `.env`, in one step: the environment variable's, or a random one.

    Raises UsageError for a name that is no token, one that is not set yet, and a value that cannot be one.
    """
    names = [variable.name for variable in variables().values() if variable.token]
    if name not in names:
        raise UsageError(f"{name}: no token; there are {', '.join(names)}, and CA")
    if not project.env_file.exists():
        raise UsageError(put_aside(project) or f"{project.env_file}: not there: run ./open-balena.sh config")
    file = dotenv.read(project.env_file)
    old = file.values.get(name, "")
    if not old:
        raise UsageError(f"{project.env_file}: {name} is not set: ./open-balena.sh config makes it")
    new = os.environ.get(name) or secrets.token_hex(16)
    if new == old:
        raise UsageError(
            f"environment variable {name} is the present value and wins over .env: unset it, or set it to the new one"
        )
    if problem := malformed(name, new) or dict(unfit({name: new}, cluster=True)).get(name):
        raise UsageError(f"environment variable {name}: {problem}")
    write_atomic(project.env_file.resolve(), envfile.update(file, {name: new}), 0o600)
