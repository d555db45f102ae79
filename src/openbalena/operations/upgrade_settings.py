"""The images in `.env` during an upgrade: written before the services change, and as they were if that fails.

A file next to `.env` has what they were until the upgrade has finished, so that a command that was killed can be run
again, and still knows the way back.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace

from openbalena.base.errors import OperationError
from openbalena.base.files import read_text, write_atomic
from openbalena.base.project import Project
from openbalena.compose import dotenv
from openbalena.operations.settings_lock import exclusive_lock
from openbalena.settings import envfile
from openbalena.settings.variables import variables
from openbalena.swarm.api_schema import same_image
from openbalena.upgrade.plan import UpgradePlan


@dataclass(frozen=True)
class Unfinished:
    """An upgrade to `version` that has not finished.

    `settings` are those that it writes, as they must be for the former images; None for one that `.env` need not have.
    `api` is the image that ran, and `migrations` are those that the database had executed, None if they are not known.
    `one_way` are the steps after which that api does not run on the database any more. `backup` is the set that was
    saved before it, "" without one.
    """

    version: str
    api: str
    migrations: Sequence[str] | None
    one_way: Sequence[str]
    settings: Mapping[str, str | None] = field(default_factory=dict)
    backup: str = ""


def read_unfinished(project: Project) -> Unfinished | None:
    """The upgrade that was interrupted, None if there is none. Raises OperationError if its file is damaged."""
    if not project.upgrading.exists():
        return None
    try:
        return Unfinished(**json.loads(read_text(project.upgrading)))
    except (ValueError, TypeError):
        raise OperationError(
            f"{project.upgrading}: damaged: expected the images before an upgrade that was interrupted: compare the "
            "images in .env with those that run, and remove the file"
        ) from None


def write_images(project: Project, plan: UpgradePlan, begun: Unfinished, former: Unfinished | None) -> None:
    """Record what the settings are, then write the plan's images to `.env`; everything else in it is kept.

    `begun` is the upgrade that begins, whose `settings` are filled in here; `former` is the one that was interrupted,
    whose record of what ran before takes precedence. Raises OperationError if a file cannot be written.
    """
    with _writing(project):
        file = dotenv.read_file(project.env_file)
        settings = {name: _former(name, file.values.get(name), running) for name, running in plan.replaced.items()}
        if former:
            settings |= former.settings
            begun = replace(former, version=begun.version)
        write_atomic(project.upgrading, json.dumps(asdict(replace(begun, settings=settings))), 0o600)
        write_atomic(project.env_file.resolve(), envfile.update(file, plan.settings), 0o600)


def restore_images(project: Project) -> None:
    """Make the images in `.env` those that ran before the upgrade, if one has not finished."""
    with _writing(project):
        begun = read_unfinished(project)
        if begun is None:
            return
        file = dotenv.read_file(project.env_file)
        for name, value in begun.settings.items():
            if value is not None:
                file.set(name, value)
        text = envfile.without(file, [name for name, value in begun.settings.items() if value is None])
        write_atomic(project.env_file.resolve(), text, 0o600)
        project.upgrading.unlink()


def finish(project: Project) -> None:
    """Forget what the images were."""
    with _writing(project):
        project.upgrading.unlink(missing_ok=True)


def _former(name: str, value: str | None, running: str) -> str | None:
    """What the setting must be for what runs to be deployed again: its value, unless that was never deployed.

    Without a value, the default may be newer than what runs, since the checkout was updated.
    """
    deployed = same_image(value or variables()[name].default, running)
    return value if deployed else running


@contextmanager
def _writing(project: Project) -> Iterator[None]:
    with exclusive_lock(project.directory):
        try:
            yield
        except OSError as error:
            raise OperationError(
                f"{error.filename or project.directory}: cannot be written: {error.strerror}: fix this and run upgrade "
                "again"
            ) from None
