"""The known releases of openBalena, their images and migrations, and what needs care: releases.yml."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from openbalena.base.errors import UsageError
from openbalena.images.plan import image_variable
from openbalena.settings.variables import variables

FILE = Path(__file__).with_name("releases.yml")
Version = tuple[int, ...]


@dataclass(frozen=True)
class OpenBalena:
    """One release; `images` has the version of each service's image, of haproxy and cert-manager that of the base."""

    version: str
    date: str
    images: Mapping[str, str]


@dataclass(frozen=True)
class ApiMigration:
    """A migration, by its key, and the first version of the api that has it; `slow` if it touches whole tables."""

    key: str
    api: str
    slow: bool = False


@dataclass(frozen=True)
class Note:
    """Something about one version of a service's image."""

    service: str
    version: str
    text: str


@dataclass(frozen=True)
class Known:
    """Everything in releases.yml; `releases` with the newest last."""

    releases: tuple[OpenBalena, ...]
    postgres: Mapping[int, int]
    migrations: tuple[ApiMigration, ...]
    care: tuple[Note, ...]
    unusable: tuple[Note, ...]

    def find(self, version: str | None) -> OpenBalena:
        """The release `version`, the newest without one. Raises UsageError for one that is not known."""
        if version is None:
            return self.releases[-1]
        for release in self.releases:
            if release.version == version.removeprefix("v"):
                return release
        names = ", ".join(release.version for release in reversed(self.releases))
        raise UsageError(f"unknown release {version}: expected one of {names}")

    def which(self, running: Mapping[str, Version]) -> str:
        """The release whose images run, given their versions by service; "" if no release has all of them."""
        for release in reversed(self.releases):
            if running and all(parse(release.images[service]) == version for service, version in running.items()):
                return release.version
        return ""

    def migrations_of(self, api: Version, executed: Collection[str]) -> set[str]:
        """The keys that this version of the api knows: of `executed`, those before the first one in the file too."""
        first = int(self.migrations[0].key)
        early = {key for key in executed if key.isdigit() and int(key) < first}
        return early | {each.key for each in self.migrations if parse(each.api) <= api}


def setting(service: str) -> str:
    """The setting that names the image of a service or, if that is built here, its base."""
    base = image_variable(service).replace("_IMAGE", "_BASE_IMAGE")
    return base if base in variables() else image_variable(service)


def parse(version: str) -> Version:
    """`49.0.8` as numbers, to be compared with `api_schema.image_version`."""
    return tuple(map(int, version.split(".")))


def crossed(notes: Collection[Note], service: str, now: Version, then: Version) -> Iterator[Note]:
    """The notes about versions of the service after `now`, up to `then`."""
    return (each for each in notes if each.service == service and now < parse(each.version) <= then)


@cache
def known_releases() -> Known:
    """The content of releases.yml."""
    data = yaml.safe_load(FILE.read_bytes())
    return Known(
        releases=tuple(OpenBalena(**each) for each in data["releases"]),
        postgres=data["postgres"],
        migrations=tuple(ApiMigration(**each) for each in data["migrations"]),
        care=tuple(Note(**each) for each in data["care"]),
        unusable=tuple(Note(**each) for each in data["unusable"]),
    )
