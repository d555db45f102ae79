"""What `config` will write to `.env`, from the current settings, the answers and new tokens."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from openbalena.base.errors import UsageError
from openbalena.base.project import Project
from openbalena.compose import dotenv
from openbalena.settings import envfile
from openbalena.settings.profiles import DERIVED, profiles
from openbalena.settings.values import MASK, Settings, read
from openbalena.settings.variables import variables


@dataclass(frozen=True)
class SettingsPlan:
    """`text` is the new `.env`; `changed` maps each name that had a value to (old, new)."""

    settings: Settings
    profiles: list[str]
    text: str
    old_text: str | None
    changed: dict[str, tuple[str, str]]


def plan(
    project: Project, answers: Mapping[str, str], tokens: Mapping[str, str], unset: Collection[str] = ()
) -> SettingsPlan:
    """The plan for `answers` (options and replies), the environment and the existing `.env`.

    `tokens` are new values for missing tokens; settings of `unset` get their default again. Raises UsageError as
    settings.load does, if DNS_TLD is missing, if a token that is already set would change, and for a name that cannot
    be unset.
    """
    settings = read(project, {**tokens, **answers, **dict.fromkeys(unset, "")})
    exists = project.env_file.exists()
    file = dotenv.read_file(project.env_file) if exists else dotenv.parse("", project.env_file)
    for name in unset:
        _require_removable(name, answers, file)
    current = file.values
    old = {name: value for name, value in current.items() if name not in unset}
    new = {name: value for name, value in _wanted(settings, answers, tokens).items() if old.get(name, "") != value}
    new = {name: value for name, value in new.items() if old.get(name) or value != variables()[name].default}
    enabled = _profiles(settings, old)
    if old.get("COMPOSE_PROFILES") != ",".join(enabled):
        new["COMPOSE_PROFILES"] = ",".join(enabled)

    described = variables()
    for name in new:
        if described[name].token and old.get(name):
            raise UsageError(
                f"{settings.sources[name]}: {name} differs from {file.path}:{file.entries[name].line}, and a token "
                "never changes once it is set: unset it"
            )
    before = file.text if exists else None
    text = envfile.update(file, new) if exists else envfile.new(new)
    removed = [name for name in unset if name in current and name not in new]
    for name in removed:
        text = envfile.unset(dotenv.parse(text, file.path, file.environment), name)
    after = {**new, **dict.fromkeys(removed, "")}
    changed = {name: (current[name], now) for name, now in after.items() if current.get(name, "") not in ("", now)}
    return SettingsPlan(settings, enabled, text, before, changed)


def _require_removable(name: str, answers: Mapping[str, str], file: dotenv.Dotenv) -> None:
    described = variables()
    if name not in described and name not in file.entries:
        near = get_close_matches(name, {**described, **file.entries}, 1)
        raise UsageError(f"{file.path}: {name} is not a setting{f': did you mean {near[0]}?' if near else ''}")
    if name in answers:
        raise UsageError(f"config: {name} cannot be both set and unset")
    if name in described and described[name].token:
        raise UsageError(
            f"{name} is a token, which services need: to give it another value run ./open-balena.sh secrets rotate "
            f"{name}"
        )
    if name in os.environ:
        raise UsageError(f"environment variable {name} is set and takes precedence over {file.path}: remove it first")


def display_value(name: str, value: str) -> str:
    """`value` as it may be shown: masked if `name` is a secret."""
    described = variables()
    # A name that is not a setting may be one of the user's own secrets.
    hidden = name not in described or described[name].secret
    return MASK if hidden and value else value


def _wanted(settings: Settings, answers: Mapping[str, str], tokens: Mapping[str, str]) -> dict[str, str]:
    """The values that belong in `.env`: answers, tokens, values from the environment, and derived values."""
    described = variables()
    names = {name for name, v in described.items() if not v.unused and (name in os.environ or v.derive)}
    names -= {"COMPOSE_PROFILES", "PKI_DIR", "API_TOKENAUTH_JWKS", "VPN_OPENVPN_CA_CRT"}
    names |= answers.keys() | tokens.keys()
    return {name: settings[name] for name in described if name in names and name in settings}


def _profiles(settings: Settings, old: Mapping[str, str]) -> list[str]:
    """The profiles that the settings enable, followed by the user's own in COMPOSE_PROFILES."""
    own = [name for name in old.get("COMPOSE_PROFILES", "").split(",") if name and name not in DERIVED]
    return [*profiles(settings), *own]
