"""Tokens: random values that services prove themselves to each other with."""

import secrets
from collections.abc import Mapping

from openbalena.secrets import database
from openbalena.settings.variables import variables


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
