"""Tokens: random values that services prove themselves to each other with."""

import secrets
from collections.abc import Mapping

from openbalena.settings.variables import variables


def missing(values: Mapping[str, str]) -> dict[str, str]:
    """A new token for each that `values` lacks: 16 random bytes in hex, the form the images' configure step makes.

    All of them are also valid as access keys of an S3 store (letters and digits, more than 8 characters).
    """
    return {
        name: secrets.token_hex(16) for name, variable in variables().items() if variable.token and not values.get(name)
    }
