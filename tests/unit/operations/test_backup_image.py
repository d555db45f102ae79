"""The image of a backup's jobs: when it is built, from what, and its name."""

import shutil
from pathlib import Path

import pytest
from fake_engine import FakeEngine

from openbalena import settings
from openbalena.base.project import Project
from openbalena.lab import base
from openbalena.operations.built_images import backup_builds, backup_image, planned_builds
from openbalena.operations.deployment import load
from openbalena.operations.workspace import Workspace


def configured(project: Project, **values: str) -> Project:
    with project.env_file.open("a") as file:
        file.writelines(f"{name}={value}\n" for name, value in values.items())
    return project


def test_it_is_built_if_there_is_a_repository(project: Project) -> None:
    def services() -> set[str]:
        return {build.service for build in planned_builds(load(project, lab=False), lab=False)}

    assert "haproxy" in services() and "backup" not in services()
    configured(project, BACKUP_REPOSITORY="/srv/backup")
    assert "backup" in services()


@pytest.mark.parametrize(("lab", "name"), [(False, "openbalena/backup"), (True, "openbalena-lab/backup")])
def test_its_base_has_the_client_of_the_database(lab: bool, name: str, project: Project) -> None:
    values = settings.read(configured(project, BACKUP_REPOSITORY="/srv/backup", DB_IMAGE="example.com/db:9"))
    (build,) = backup_builds(values, lab=lab)
    assert (build.repository, build.base) == (name, base.IMAGE if lab else "example.com/db:9")
    assert (build.context / build.dockerfile).is_file()


def test_a_chosen_image_is_used_and_nothing_built(project: Project, fake: FakeEngine) -> None:
    values = {"BACKUP_REPOSITORY": "/srv/backup", "BACKUP_IMAGE": "example.com/backup:1"}
    found = settings.read(configured(project, **values))
    assert backup_builds(found, lab=False) == []
    assert backup_image(found, Workspace(project, lab=False), fake.engine) == "example.com/backup:1"


def test_another_database_image_makes_another_image(project: Project, fake: FakeEngine, tmp_path: Path) -> None:
    def name(**values: str) -> str:
        directory = Path(shutil.copytree(project.directory, tmp_path / values["DB_IMAGE"]))
        found = settings.read(configured(Project(directory), BACKUP_REPOSITORY="/srv/backup", **values))
        return backup_image(found, Workspace(Project(directory), lab=False), fake.engine)

    one, other = name(DB_IMAGE="db-1"), name(DB_IMAGE="db-2")
    assert one.startswith("openbalena/backup:c-") and other.startswith("openbalena/backup:c-") and one != other
