"""The description of the variables against docker-compose.yml and against itself."""

import re

import pytest

from openbalena.base.project import ROOT
from openbalena.compose.interpolation import VariableReference as Reference
from openbalena.compose.interpolation import scan
from openbalena.pki import tokens
from openbalena.settings.rules import malformed
from openbalena.settings.types import TYPES
from openbalena.settings.variables import variables

# The registry's COMMON_REGION and the api's WEBRESOURCES_S3_REGION have upstream's two different defaults; the
# database's password is unset until there is one, and docker where the image's is in use.
OTHER_DEFAULTS = {
    "EXTERNAL_S3_REGION": {"us-east-1", "open-balena"},
    "EXTERNAL_POSTGRES_USER": {"docker", "${DB_USER:-docker}"},
    "EXTERNAL_POSTGRES_PASSWORD": {"docker", "${DB_PASSWORD:-docker}"},
    "DB_PASSWORD": {"docker"},
}


def references(text: str) -> list[Reference]:
    found = [piece for piece in scan(text) if isinstance(piece, Reference)]
    return found + [inner for piece in found for inner in references(piece.word)]


def used() -> dict[str, set[str]]:
    """Each variable of docker-compose.yml with the defaults it has there."""
    text = re.sub(r"^\s*#.*", "", (ROOT / "docker-compose.yml").read_text(), flags=re.MULTILINE)
    defaults: dict[str, set[str]] = {}
    for reference in references(text):
        if reference.operator in (":?", ":+"):
            defaults.setdefault(reference.name, set())
            continue
        word = reference.word.replace(":?run ./open-balena.sh config", "")
        defaults.setdefault(reference.name, set()).update({word} if word else set())
    return defaults


def test_every_variable_of_the_compose_file_is_described_with_its_default() -> None:
    described = variables()
    assert sorted(used().keys() - described.keys()) == []
    for name, defaults in used().items():
        own = described[name].default
        assert defaults == OTHER_DEFAULTS.get(name, {own} if own else set()), name


def test_every_described_variable_is_used_somewhere() -> None:
    """In docker-compose.yml, in our code, or only upstream (then it says so)."""
    code = "".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    idle = {n for n, v in variables().items() if n not in used() and not v.unused and f'"{n}"' not in code}
    # Read by what other variables are derived from, or by commands that come later.
    idle -= {"BALENA_DEVICE_UUID", "NFS_PORT", "NFS_PATH", "TOKENS_MODE"}
    assert idle == set()


@pytest.mark.parametrize("name", variables())
def test_a_description_makes_sense(name: str) -> None:
    variable = variables()[name]
    assert variable.type in TYPES
    assert variable.help.endswith((".", ")"))
    if variable.default and "${" not in variable.default and variable.type != "text":
        assert malformed(name, variable.default) == ""
    assert not variable.when or variable.when in variables()
    assert not variable.token or variable.secret
    assert variable.option == "" or not variable.secret


def test_new_tokens_are_valid_and_only_what_is_missing() -> None:
    made = tokens.missing_tokens({"COOKIE_SESSION_SECRET": "there"})
    assert len(made) == 15
    assert "COOKIE_SESSION_SECRET" not in made
    assert len(set(made.values())) == 15
    assert all(re.fullmatch("[0-9a-f]{32}", value) and not malformed(name, value) for name, value in made.items())
