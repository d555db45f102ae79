"""What an upgrade would change, what keeps it from running, and what has no way back: decided from what runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from openbalena.settings.variables import variables
from openbalena.swarm import api_schema
from openbalena.swarm.api_schema import ADDITIVE, API, Answer, image_version
from openbalena.swarm.irreversible import DATABASE
from openbalena.swarm.rollout_order import FRONT, WITH_DATA
from openbalena.upgrade.releases import Known, OpenBalena, Version, crossed, parse, setting

PAGE = "docs/upgrade.md"


@dataclass(frozen=True)
class Running:
    """What runs, and the settings.

    `images` are those of the services; `configured` is the image of each setting, and `exported` are the settings that
    the environment sets. `executed` are the keys of the database's migrations, `postgres` is the major version of its
    server, each None if it is not known. `slow_statements`: whether the api's statements may take longer than usual.
    """

    images: Mapping[str, str]
    configured: Mapping[str, str]
    exported: Collection[str] = ()
    executed: Collection[str] | None = None
    postgres: int | None = None
    slow_statements: bool = False


@dataclass(frozen=True)
class Change:
    """The image of a service, or its base, that runs and that will run."""

    service: str
    before: str
    after: str


@dataclass(frozen=True)
class UpgradePlan:
    """The upgrade to the release `version`; `former` is the one that runs, "" if the images are not those of one.

    `changes` are in the order in which a cluster replaces the services. `settings` are the images to write to `.env`,
    and `replaced` those that run, of the same settings (of an image that is built here, the base in the settings).
    `refusals` are why the upgrade must not begin, `findings` what the user should know, and `one_way` the steps after
    which the former release does not run on the data any more.
    """

    version: str
    former: str
    changes: tuple[Change, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    replaced: Mapping[str, str] = field(default_factory=dict)
    refusals: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    one_way: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Image:
    """A service whose image the upgrade decides: what runs and what is configured now, and what will be."""

    service: str
    running: str
    configured: str
    target: str

    @property
    def built(self) -> bool:
        """Whether it is built here: the image that runs says nothing of its base."""
        return setting(self.service).endswith("_BASE_IMAGE")

    @property
    def now(self) -> Version:
        return image_version(self.running)

    @property
    def then(self) -> Version:
        return parse(self.target)

    @property
    def changes(self) -> bool:
        return self.now != self.then

    @property
    def after(self) -> str:
        """What is configured, with its registry; with its digest only if the version is the same."""
        if image_version(self.configured) == self.then:
            return self.configured
        return f"{_name(self.configured)}:{self.target}"


def plan_upgrade(known: Known, version: str | None, running: Running, *, keep_database: bool = False) -> UpgradePlan:
    """Decide about the upgrade to `version`, the newest release without one.

    With `keep_database` the database's image remains the one that runs. Raises UsageError for a release that is not
    known.
    """
    release = known.find(version)
    every = list(_images(release, running))
    kept = [each for each in every if _is_upstream(each) and keep_database and each.service == DATABASE]
    images = [each for each in every if _is_upstream(each) and each not in kept]
    left = [each for each in every if each not in images]
    by_service = {each.service: each for each in images}
    refusals = [*_refusals(known, running, images, left), *_database(known, running, by_service.get(DATABASE))]
    findings, one_way = [*_findings(known, images, left)], list[str]()
    if api := by_service.get(API):
        refusals += _older_api(known, running, api)
        findings += _migration_findings(known, running, api)
        one_way += _one_way(known, running, api)
    changes = sorted((each for each in images if each.changes), key=lambda each: _order(each.service))
    return UpgradePlan(
        version=release.version,
        former=known.which({each.service: each.now for each in every if each.now and not each.built}),
        changes=tuple(Change(each.service, each.running, each.after) for each in changes),
        # Also of what does not change: the defaults of the next version of this project may be other ones.
        settings={
            **{setting(each.service): each.after for each in images},
            **{setting(each.service): each.running for each in kept},
        },
        replaced={setting(each.service): each.running for each in (*images, *kept)},
        refusals=tuple(refusals),
        findings=tuple(findings),
        one_way=tuple(one_way),
    )


def no_return(one_way: Collection[str], before: Collection[str] | None, executed: Collection[str] | None) -> str:
    """Why the former api must not run on the database after a failed upgrade, "" if it may.

    `one_way` are the steps of the plan; `before` are the migrations that the database had, and `executed` those that
    it has now, each None if that is not known.
    """
    verdict = api_schema.judge(executed, before)
    if verdict.answer is Answer.REFUSED or (verdict.answer is Answer.UNKNOWN and one_way):
        return verdict.reason
    return ""


def _images(release: OpenBalena, running: Running) -> Iterator[_Image]:
    for service, target in release.images.items():
        if service in running.images:  # others are external, or not enabled
            configured = running.configured[setting(service)]
            image = _Image(service, running.images[service], configured, target)
            yield replace(image, running=configured) if image.built else image


def _is_upstream(image: _Image) -> bool:
    """Whether it is openBalena's, from whatever registry: an image of the user's has its own versions.

    A running one that is not is what docker-compose.override.yml names, if the settings do not.
    """
    ours = variables()[setting(image.service)].default
    return {_last(image.configured), _last(image.running)} == {_last(ours)}


def _last(image: str) -> str:
    return _name(image).rpartition("/")[2]


def _name(image: str) -> str:
    """Without tag and digest; a registry's port is not a tag."""
    path, slash, last = image.partition("@")[0].rpartition("/")
    return f"{path}{slash}{last.partition(':')[0]}"


def _order(service: str) -> tuple[int, str]:
    if service in WITH_DATA:
        return WITH_DATA.index(service), service
    return len(WITH_DATA) + (service == FRONT), service


def _refusals(known: Known, running: Running, images: list[_Image], left: list[_Image]) -> Iterator[str]:
    if not running.images:
        yield "no service runs here: start the deployment first (up, or swarm-up)"
    for name in sorted({setting(each.service) for each in images if each.changes} & {*running.exported}):
        yield f"{name} is set in the environment, which takes precedence over .env: unset it"
    for each in [*images, *left]:
        for note in known.unusable:
            if note.service == each.service and parse(note.version) in (each.now, each.then):
                yield f"{each.service} {note.version}: {note.text}: see {PAGE}#postgresql"


def _database(known: Known, running: Running, database: _Image | None) -> Iterator[str]:
    if database is None or not database.changes:
        return
    now = running.postgres or known.postgres.get(database.now[0] if database.now else 0)
    then = known.postgres[database.then[0]]
    keep = f"keep its image with --keep-database, or see {PAGE}#postgresql"
    if now is None:
        yield f"{DATABASE}: which version of PostgreSQL runs is not known, and {database.after} has {then}: {keep}"
    elif then < now:
        yield f"{DATABASE}: {database.after} has PostgreSQL {then}, which cannot read the data of {now}: {keep}"
    elif then > now:
        yield (
            f"{DATABASE}: PostgreSQL {now} runs, and {database.after} has {then}: its data must be dumped and "
            f"restored, which upgrade does not do: {keep}"
        )


def _findings(known: Known, images: list[_Image], left: list[_Image]) -> Iterator[str]:
    for each in left:
        yield f"{each.service}: its image is not changed: {each.running}"
    for each in images:
        if not each.now:
            yield f"{each.service}: {each.running} has no version, so what needs care on the way from it is not known"
            continue
        if each.then < each.now:
            yield f"{each.service}: {each.target} is older than what runs: {each.running}"
        if each.now < parse(known.releases[0].images[each.service]):
            yield (
                f"{each.service}: {each.running} is older than every release that is known here "
                f"({known.releases[0].version} is the first): read its release notes too"
            )
        for note in crossed(known.care, each.service, each.now, each.then):
            yield f"{each.service} {note.version}: {note.text}"


def _older_api(known: Known, running: Running, api: _Image) -> Iterator[str]:
    """Why the api would not run on the database."""
    if running.executed is None:
        if api.then < api.now:
            yield f"{API}: {api.target} is older than what runs, and which migrations the database has is not known"
        return
    verdict = api_schema.judge(running.executed, known.migrations_of(api.then, running.executed))
    if verdict.answer is Answer.REFUSED:
        yield f"{API} {api.target}: {verdict.reason}: choose a later release"


def _pending(known: Known, running: Running, api: _Image) -> list[str]:
    """The keys of the migrations that the api will execute."""
    if running.executed is None:
        present = known.migrations_of(api.now, ()) if api.now else set[str]()
    else:
        present = set(running.executed)
    return sorted(known.migrations_of(api.then, ()) - present)


def _migration_findings(known: Known, running: Running, api: _Image) -> Iterator[str]:
    if running.executed is None and api.changes:
        yield f"{API}: which migrations the database has is not known; the version of the image decides instead"
    verdict = api_schema.judge(running.executed, known.migrations_of(api.then, running.executed or ()))
    for limit in verdict.limits:
        yield f"{API} {api.target} is older than the database's schema: {limit}"
    pending = _pending(known, running, api)
    slow = [each.key for each in known.migrations if each.slow and each.key in pending]
    if slow and not running.slow_statements:
        yield (
            f"{API}: migration {', '.join(slow)} reads or rewrites whole tables; if a statement takes longer than a "
            "minute, the api gives up and starts over, indefinitely: with many devices set DB_STATEMENT_TIMEOUT and "
            f"API_START_PERIOD first (see {PAGE})"
        )


def _one_way(known: Known, running: Running, api: _Image) -> Iterator[str]:
    if breaking := [key for key in _pending(known, running, api) if key not in ADDITIVE]:
        yield (
            f"{API} {api.target} changes the database by migration {', '.join(breaking)}; it is not known that an "
            "older api runs on it, so afterwards only a backup leads back"
        )
