"""The descriptions of all variables, read from variables.yml."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

FILE = Path(__file__).with_name("variables.yml")


@dataclass(frozen=True)
class Variable:
    """One variable; variables.yml explains the fields at its top."""

    name: str
    section: str
    help: str  # noqa: A003 - the key in variables.yml
    type: str = "text"  # noqa: A003
    default: str = ""
    derive: str = ""
    question: str = ""
    when: str = ""
    required: bool = False
    secret: bool = False
    token: bool = False
    new_only: bool = False
    later: bool = False
    unused: bool = False
    passes: tuple[str, ...] = ()

    @property
    def option(self) -> str:
        """The option of `config`; empty if there is none: a secret would be visible in the process list."""
        return "" if self.secret or not self.question else "--" + self.name.lower().replace("_", "-")


@cache
def variables() -> dict[str, Variable]:
    """Every variable by name, in the order of variables.yml."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    sections = yaml.load(FILE.read_bytes(), Loader=loader)  # noqa: S506 - CSafeLoader is the safe loader in C
    described = [
        Variable(section=part["section"], **{**item, "passes": tuple(item.get("passes", ()))})
        for part in sections
        for item in part["variables"]
    ]
    return {variable.name: variable for variable in described}
