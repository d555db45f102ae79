"""Reading a deployment's settings: `.env`, the process environment and a command's own values, validated together."""

import errno
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from openbalena.base import placeholder
from openbalena.base.errors import UsageError
from openbalena.base.project import Project
from openbalena.compose import dotenv
from openbalena.settings.characters import unfit_value
from openbalena.settings.profiles import profiles, stale_profiles
from openbalena.settings.rules import setting_problems
from openbalena.settings.variables import variables

MASK = "********"
# Masking shorter values would mask unrelated text.
_MIN_SECRET_LENGTH = 6
# difflib's ratio: a name of ten letters with one added, missing, wrong or swapped with the next.
_TYPO_RATIO = 0.9


class Value(NamedTuple):
    """A value and where it was set, as messages show it (`/srv/.env:3`); `where` is empty for a derived value.

    `exported` is whether it comes from the process environment.
    """

    text: str
    where: str
    exported: bool = False


class Settings(Mapping[str, str]):
    """Every setting that has a value, including the defaults of variables.yml.

    `sources` maps each value that was set to where it was set, as messages show it; `exported` are the names whose
    values come from the process environment; `warnings` are messages about the file. None contains a secret.
    """

    def __init__(self, values: Mapping[str, Value], warnings: list[str]) -> None:
        described = variables()
        defaults = {name: v.default for name, v in described.items() if v.default and "${" not in v.default}
        self._set = {name: value.text for name, value in values.items()}
        self._all = defaults | {name: text for name, text in self._set.items() if text or name not in defaults}
        self.sources = {name: value.where for name, value in values.items() if value.where}
        self.exported = frozenset(name for name, value in values.items() if value.exported)
        self.warnings = warnings

    def __getitem__(self, name: str) -> str:
        return self._all[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def __repr__(self) -> str:
        return f"Settings({', '.join(sorted(self._set))})"

    @property
    def secrets(self) -> dict[str, str]:
        """Each secret variable that is set, with its value."""
        described = variables()
        return {name: text for name, text in self._set.items() if text and name in described and described[name].secret}

    def masked(self, text: str) -> str:
        """`text`, such as a program's output, with its secrets masked."""
        # Longest first, so that no part of a longer secret remains readable.
        for value in sorted(
            (each for each in self.secrets.values() if len(each) >= _MIN_SECRET_LENGTH), key=len, reverse=True
        ):
            text = text.replace(value, MASK)
        return text

    @property
    def profiles(self) -> list[str]:
        """The enabled Compose profiles: COMPOSE_PROFILES, or if unset those that the other settings enable."""
        return [name for name in self.get("COMPOSE_PROFILES", ",".join(profiles(self))).split(",") if name]

    def interpolation(self) -> dict[str, str]:
        """The variables for `${…}` in a Compose file: values that are set, secrets as placeholders.

        Defaults are left out: the Compose file has them.
        """
        return self._set | {name: placeholder.placeholder_for(name) for name in self.secrets}


def read(project: Project, extra: Mapping[str, str] | None = None) -> Settings:
    """The validated settings of `project`.

    In order of precedence: `extra`; the process environment, for names in variables.yml or `.env`; `.env`, which may be
    missing. Raises one UsageError that names every invalid value with its place, what was expected and what to do; the
    message never contains a secret.
    """
    settings = read_unchecked(project, extra)
    if errors := list(map(str, setting_problems(settings, settings.sources, project.env_file))):
        raise UsageError("\n".join([f"{len(errors)} settings are invalid:", *errors] if len(errors) > 1 else errors))
    settings.warnings += _damaged(settings, cluster=True)
    if "COMPOSE_PROFILES" not in (extra or {}):
        settings.warnings += stale_profiles(settings, settings.sources)
    return settings


def require_intact(settings: Settings, *, cluster: bool) -> None:
    """Raise UsageError for values that would be damaged on their way to a process, in a cluster or on one machine."""
    if damaged := _damaged(settings, cluster=cluster):
        raise UsageError("\n".join(damaged))


def _damaged(settings: Settings, *, cluster: bool) -> list[str]:
    return [f"{settings.sources.get(name) or '.env'}: {text}" for name, text in unfit_value(settings, cluster=cluster)]


def read_configured(project: Project, extra: Mapping[str, str] | None = None) -> Settings:
    """The settings as `load` reads them. Raises UsageError also if `config` has not run yet."""
    settings = read(project, extra)
    if settings.get("DNS_TLD"):
        return settings
    if project.env_file.exists():
        from difflib import get_close_matches

        # In so short a name one wrong letter is below _NEAR; here the ratio may be lower, as DNS_TLD is missing.
        unknown = settings.sources.keys() - variables().keys()
        correction = "".join(
            f", or correct {near} in {settings.sources[near]} if it is a typo"
            for near in get_close_matches("DNS_TLD", unknown, 1, 0.8)
        )
        raise UsageError(f"{project.env_file}: DNS_TLD is not set: run ./open-balena.sh config{correction}")
    if reason := put_aside(project):
        raise UsageError(reason)
    raise UsageError(
        f"{project.env_file} does not exist: run ./open-balena.sh config, or name its directory with "
        "--project-directory; if a swarm runs the deployment, fetch it with ./open-balena.sh config --from-cluster"
    )


def put_aside(project: Project) -> str:
    """What to do if `config --from-cluster` moved `.env` aside and was killed before it wrote the new one; else ""."""
    if project.env_file.exists():
        return ""
    aside = sorted(project.directory.glob(f"{project.env_file.name}.{'[0-9]' * 8}-{'[0-9]' * 6}"))
    return (
        f"{project.env_file} does not exist, but {aside[-1].name} does: config --from-cluster moved it aside and was "
        f"interrupted: run ./open-balena.sh config --from-cluster again, or rename {aside[-1].name}, and all other "
        "files with this suffix, back (to start over, move it elsewhere)"
        if aside
        else ""
    )


def read_unchecked(project: Project, extra: Mapping[str, str] | None = None) -> Settings:
    """The settings as `load` reads them, without validation. Raises UsageError only for a malformed `.env`."""
    file = _file(project)
    described = variables()
    values = {name: Value(entry.value, f"{file.path}:{entry.line}") for name, entry in file.entries.items()}
    for name in described.keys() | values.keys():
        if name in os.environ and os.environ[name] != values.get(name, Value("", "")).text:
            values[name] = Value(os.environ[name], f"environment variable {name}", exported=True)
    values.update({name: Value(text, "command line") for name, text in (extra or {}).items()})
    for variable in described.values():
        derived = _derived(variable.derive, values)
        if derived and not values.get(variable.name, Value("", "")).text:
            values[variable.name] = Value(derived, "")
    if values.get("EXTERNAL_POSTGRES", Value("", "")).text == "true":
        # These are the internal database's: the Compose file falls back to them if the external one's are not set.
        values.update({name: values[name]._replace(text="") for name in ("DB_USER", "DB_PASSWORD") if name in values})
    directory = values.get("PKI_DIR", Value("", ""))
    values["PKI_DIR"] = directory._replace(text=str(_pki_directory(project, directory.text)))
    return Settings(values, [*file.warnings, *_misspelt(file)])


def pki_directory(project: Project) -> Path:
    """PKI_DIR alone, for every command: to read all settings takes longer than most commands. Raises UsageError only
    for a malformed `.env`.
    """
    entry = _file(project).entries.get("PKI_DIR")
    return _pki_directory(project, os.environ.get("PKI_DIR", entry.value if entry else ""))


def _pki_directory(project: Project, setting: str) -> Path:
    return project.directory / setting if setting else project.pki


def _file(project: Project) -> dotenv.Dotenv:
    try:
        project.env_file.stat()
    except FileNotFoundError:
        if project.env_file.is_symlink():
            raise UsageError(
                f"{project.env_file}: is a symbolic link to {project.env_file.readlink()}, which does not exist: "
                "restore that file (is its disk mounted?), or, to start with new settings, replace the link with an "
                "empty file"
            ) from None
        return dotenv.parse("", project.env_file)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UsageError(
                f"{project.env_file}: is a symbolic link to itself: replace it with the file or with a link to the file"
            ) from None
        raise
    return dotenv.read_file(project.env_file)


def _misspelt(file: dotenv.Dotenv) -> Iterator[str]:
    """A message for each name in the file that is almost a setting's; users' own Compose files may use any name."""
    described = variables()
    if unknown := file.entries.keys() - described.keys():
        from difflib import get_close_matches  # takes as long as reading the file

        for name in sorted(unknown, key=lambda name: file.entries[name].line):
            for near in get_close_matches(name, described, 1, _TYPO_RATIO):
                yield f"{file.path}:{file.entries[name].line}: unknown setting {name}; did you mean {near}?"


def _derived(template: str, values: Mapping[str, Value]) -> str:
    """`template` with its `${NAME}` replaced; empty if one of them has no value."""
    names = re.findall(r"\$\{(\w+)\}", template)
    if not all(name in values and values[name].text for name in names):
        return ""
    return re.sub(r"\$\{(\w+)\}", lambda match: values[match[1]].text, template)
