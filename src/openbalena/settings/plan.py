"""What `config` will write: from what is set, what was answered and what is missing to the lines of `.env`."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from openbalena import dotenv
from openbalena.errors import UsageError
from openbalena.project import Project
from openbalena.settings import envfile
from openbalena.settings.profiles import DERIVED, profiles
from openbalena.settings.values import MASK, Settings, load
from openbalena.settings.variables import variables


@dataclass(frozen=True)
class Plan:
    """`text` is the new `.env`; `changed` maps each name that had a value to (old, new)."""

    settings: Settings
    profiles: list[str]
    text: str
    old_text: str | None
    changed: dict[str, tuple[str, str]]


def plan(project: Project, answers: Mapping[str, str], tokens: Mapping[str, str]) -> Plan:
    """What follows from `answers` (options and replies), the environment and the `.env` that is there.

    `tokens` are new ones for those that are missing. Raises UsageError as settings.load does, where DNS_TLD is missing,
    and where a token that is set would change.
    """
    settings = load(project, {**tokens, **answers})
    exists = project.env_file.exists()
    file = dotenv.read(project.env_file) if exists else dotenv.parse("", project.env_file)
    old = file.values
    wanted = {name: value for name, value in _wanted(settings, answers, tokens).items() if old.get(name, "") != value}
    wanted = {name: value for name, value in wanted.items() if old.get(name) or value != variables()[name].default}
    running = _profiles(settings, old)
    if old.get("COMPOSE_PROFILES") != ",".join(running):
        wanted["COMPOSE_PROFILES"] = ",".join(running)

    described = variables()
    for name in wanted:
        if described[name].token and old.get(name):
            raise UsageError(
                f"{settings.sources[name]}: {name} is not what {file.path}:{file.entries[name].line} says, and a token "
                "never changes once it is set: unset it"
            )
    before = file.text if exists else None
    text = envfile.update(file, wanted) if exists else envfile.new(wanted)
    changed = {name: (old[name], value) for name, value in wanted.items() if old.get(name)}
    return Plan(settings, running, text, before, changed)


def shown(name: str, value: str) -> str:
    """`value` as it may be shown: masked where `name` is a secret."""
    return MASK if variables()[name].secret and value else value


def _wanted(settings: Settings, answers: Mapping[str, str], tokens: Mapping[str, str]) -> dict[str, str]:
    """What belongs into `.env`: answers, tokens, what the environment sets, and what is derived from others."""
    described = variables()
    names = {name for name, v in described.items() if not v.unused and (name in os.environ or v.derive)}
    names -= {"COMPOSE_PROFILES", "PKI_DIR", "API_TOKENAUTH_JWKS", "VPN_OPENVPN_CA_CRT"}
    names |= answers.keys() | tokens.keys()
    return {name: settings[name] for name in described if name in names and name in settings}


def _profiles(settings: Settings, old: Mapping[str, str]) -> list[str]:
    """The profiles that the settings make; the user's own stay behind them."""
    own = [name for name in old.get("COMPOSE_PROFILES", "").split(",") if name and name not in DERIVED]
    return [*profiles(settings), *own]
