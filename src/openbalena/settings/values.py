"""Reading a deployment's settings: `.env`, the process environment, what a command adds; checked as a whole."""

import errno
import os
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from openbalena import dotenv, placeholder
from openbalena.errors import UsageError
from openbalena.project import Project
from openbalena.settings.characters import unfit
from openbalena.settings.profiles import profiles, stale
from openbalena.settings.rules import problems
from openbalena.settings.variables import variables

MASK = "********"
# Shorter ones would mask ordinary words.
_MASKED = 6
# difflib's ratio: one letter more, less, other or exchanged with the next in a name of ten.
_NEAR = 0.9


class Value(NamedTuple):
    """A value and where it was set, as messages name it (`/srv/.env:3`); `where` is empty for a derived value."""

    text: str
    where: str


class Settings(Mapping[str, str]):
    """Every setting that has a value, defaults of openBalena's own variables included.

    `sources` says where each value that somebody set comes from; `warnings` are sentences about the file. Neither holds
    a secret.
    """

    def __init__(self, values: Mapping[str, Value], warnings: list[str]) -> None:
        described = variables()
        defaults = {name: v.default for name, v in described.items() if v.default and "${" not in v.default}
        self._set = {name: value.text for name, value in values.items()}
        self._all = defaults | {name: text for name, text in self._set.items() if text or name not in defaults}
        self.sources = {name: value.where for name, value in values.items() if value.where}
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
        """What a program said, without the secrets in it."""
        # Longest first, so that no part of a longer secret stays readable.
        for value in sorted((each for each in self.secrets.values() if len(each) >= _MASKED), key=len, reverse=True):
            text = text.replace(value, MASK)
        return text

    @property
    def profiles(self) -> list[str]:
        """The Compose profiles that run: COMPOSE_PROFILES, or what the other settings make it."""
        return [name for name in self.get("COMPOSE_PROFILES", ",".join(profiles(self))).split(",") if name]

    def interpolation(self) -> dict[str, str]:
        """What `${…}` in a Compose file sees: the values that are set, secrets as marks (defaults are the file's)."""
        return self._set | {name: placeholder.mark(name) for name in self.secrets}


def load(project: Project, extra: Mapping[str, str] | None = None) -> Settings:
    """The settings of `project`, checked.

    `.env` (it may be missing), over it the process environment for names that are described or stand in `.env`, over
    both `extra`. Raises one UsageError that names every wrong value with its place, what is expected and what to do; no
    message holds a secret's value.
    """
    settings = current(project, extra)
    wrong = problems(settings, settings.sources, project.env_file)
    if wrong:
        raise UsageError("\n".join([f"{len(wrong)} settings are wrong:", *wrong] if len(wrong) > 1 else wrong))
    settings.warnings += _sentences(settings, cluster=True)
    if "COMPOSE_PROFILES" not in (extra or {}):
        settings.warnings += stale(settings, settings.sources)
    return settings


def require_intact(settings: Settings, *, cluster: bool) -> None:
    """Raise UsageError for each value that does not reach the process it is for, in a cluster or on one machine."""
    if lost := _sentences(settings, cluster=cluster):
        raise UsageError("\n".join(lost))


def _sentences(settings: Settings, *, cluster: bool) -> list[str]:
    return [f"{settings.sources.get(name) or '.env'}: {text}" for name, text in unfit(settings, cluster=cluster)]


def configured(project: Project, extra: Mapping[str, str] | None = None) -> Settings:
    """The settings as `load` reads them. Raises UsageError also where `config` has not run yet."""
    settings = load(project, extra)
    if settings.get("DNS_TLD"):
        return settings
    if project.env_file.exists():
        from difflib import get_close_matches

        # A name this short is wrong by more of its length than _NEAR allows, but here one is missing.
        unknown = settings.sources.keys() - variables().keys()
        meant = "".join(
            f", or correct {settings.sources[near]} if its {near} was meant"
            for near in get_close_matches("DNS_TLD", unknown, 1, 0.8)
        )
        raise UsageError(f"{project.env_file}: DNS_TLD is not set: run ./open-balena.sh config{meant}")
    if reason := put_aside(project):
        raise UsageError(reason)
    raise UsageError(
        f"{project.env_file} is not there: run ./open-balena.sh config, or name the directory it is in with "
        "--project-directory; where a swarm has the deployment, ./open-balena.sh config --from-cluster gets it"
    )


def put_aside(project: Project) -> str:
    """What to do where `config --from-cluster` put `.env` aside and was killed before it wrote the new one; else ""."""
    if project.env_file.exists():
        return ""
    aside = sorted(project.directory.glob(f"{project.env_file.name}.{'[0-9]' * 8}-{'[0-9]' * 6}"))
    return (
        f"{project.env_file} is not there, and {aside[-1].name} is: config --from-cluster put it aside and did not "
        f"end: run ./open-balena.sh config --from-cluster again, or rename {aside[-1].name}, and what else has this "
        "ending, back (to begin anew, move it elsewhere)"
        if aside
        else ""
    )


def current(project: Project, extra: Mapping[str, str] | None = None) -> Settings:
    """The settings as `load` reads them, before they are checked. Raises UsageError for a malformed `.env` alone."""
    file = _file(project)
    described = variables()
    values = {name: Value(entry.value, f"{file.path}:{entry.line}") for name, entry in file.entries.items()}
    for name in described.keys() | values.keys():
        if name in os.environ and os.environ[name] != values.get(name, Value("", "")).text:
            values[name] = Value(os.environ[name], f"environment variable {name}")
    values.update({name: Value(text, "command line") for name, text in (extra or {}).items()})
    for variable in described.values():
        derived = _derived(variable.derive, values)
        if derived and not values.get(variable.name, Value("", "")).text:
            values[variable.name] = Value(derived, "")
    if values.get("EXTERNAL_POSTGRES", Value("", "")).text == "true":
        # The internal database's: definitions take them where an external one's are not set.
        values.update({name: values[name]._replace(text="") for name in ("DB_USER", "DB_PASSWORD") if name in values})
    directory, where = values.get("PKI_DIR", Value("", ""))
    values["PKI_DIR"] = Value(str(project.directory / directory if directory else project.pki), where)
    return Settings(values, [*file.warnings, *_misspelt(file)])


def _file(project: Project) -> dotenv.Dotenv:
    try:
        project.env_file.stat()
    except FileNotFoundError:
        if project.env_file.is_symlink():
            raise UsageError(
                f"{project.env_file}: is a symbolic link to {project.env_file.readlink()}, which is not there: bring "
                "that back (is its disk mounted?), or, to begin with new settings, make it an empty file"
            ) from None
        return dotenv.parse("", project.env_file)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UsageError(
                f"{project.env_file}: is a symbolic link that leads back to itself: put the file, or a link to it there"
            ) from None
        raise
    return dotenv.read(project.env_file)


def _misspelt(file: dotenv.Dotenv) -> Iterator[str]:
    """A sentence for each name in the file that is almost a setting's; a user's own definitions may have any name."""
    described = variables()
    if unknown := file.entries.keys() - described.keys():
        from difflib import get_close_matches  # takes as long as reading the file

        for name in sorted(unknown, key=lambda name: file.entries[name].line):
            for near in get_close_matches(name, described, 1, _NEAR):
                yield f"{file.path}:{file.entries[name].line}: {name} is no setting: correct it if {near} was meant"


def _derived(template: str, values: Mapping[str, Value]) -> str:
    """`template` with its `${NAME}` replaced; empty while one of them has no value."""
    names = re.findall(r"\$\{(\w+)\}", template)
    if not all(name in values and values[name].text for name in names):
        return ""
    return re.sub(r"\$\{(\w+)\}", lambda match: values[match[1]].text, template)
