"""The images in `.env` during an upgrade: nothing else changes, and the way back is known after a kill too."""

from pathlib import Path

import pytest

from openbalena.base.errors import OperationError
from openbalena.base.project import Project
from openbalena.operations.upgrade_settings import Unfinished, finish, read_unfinished, restore_images, write_images
from openbalena.upgrade.plan import UpgradePlan

BEFORE = """\
# mine
DNS_TLD=my.example.com
API_IMAGE='r.example.com/open-balena-api:48.4.0'  # pinned
SOMETHING_ELSE="a b"
"""
IMAGES = {"API_IMAGE": "r.example.com/open-balena-api:49.0.8", "VPN_IMAGE": "balena/open-balena-vpn:12.3.103"}
REPLACED = {
    "API_IMAGE": "r.example.com/open-balena-api:48.4.0@sha256:0a",
    "VPN_IMAGE": "balena/open-balena-vpn:12.3.103",
}
PLAN = UpgradePlan("4.1.924", "", settings=IMAGES, replaced=REPLACED)
BEGUN = Unfinished("4.1.924", "api:1", ["00114"], ["a step"])


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / ".env").write_text(BEFORE)
    return Project(tmp_path)


def text(project: Project) -> str:
    return project.env_file.read_text()


def test_only_the_images_change(project: Project) -> None:
    write_images(project, PLAN, BEGUN, None)
    assert text(project) == BEFORE.replace("'r.example.com/open-balena-api:48.4.0'", IMAGES["API_IMAGE"]) + (
        f"# Image of vpn.\nVPN_IMAGE={IMAGES['VPN_IMAGE']}\n"
    )
    former = {"API_IMAGE": "r.example.com/open-balena-api:48.4.0", "VPN_IMAGE": None}
    assert read_unfinished(project) == Unfinished("4.1.924", "api:1", ["00114"], ["a step"], former)
    assert [path.stat().st_mode & 0o777 for path in (project.env_file, project.upgrading)] == [0o600, 0o600]


def test_the_former_images_are_restored_and_what_changed_meanwhile_is_kept(project: Project) -> None:
    write_images(project, PLAN, BEGUN, None)
    with project.env_file.open("a") as file:
        file.write("LATER=yes\n")
    restore_images(project)
    assert text(project) == BEFORE.replace(
        "'r.example.com/open-balena-api:48.4.0'", "r.example.com/open-balena-api:48.4.0"
    ) + ("LATER=yes\n")
    assert not project.upgrading.exists()


def test_a_second_upgrade_after_a_kill_keeps_the_first_record(project: Project) -> None:
    write_images(project, PLAN, BEGUN, None)
    images = {"API_IMAGE": "r.example.com/open-balena-api:50.0.0", "S3_IMAGE": "balena/open-balena-s3:3.0.62"}
    replaced = {"API_IMAGE": IMAGES["API_IMAGE"], "S3_IMAGE": "balena/open-balena-s3:3.0.62@sha256:0a"}
    later = UpgradePlan("4.1.999", "", settings=images, replaced=replaced)
    write_images(project, later, Unfinished("4.1.999", "api:2", None, []), read_unfinished(project))
    former = {"API_IMAGE": "r.example.com/open-balena-api:48.4.0", "S3_IMAGE": None, "VPN_IMAGE": None}
    assert read_unfinished(project) == Unfinished("4.1.999", "api:1", ["00114"], ["a step"], former)
    restore_images(project)
    assert "IMAGE" not in text(project).replace("API_IMAGE=r.example.com/open-balena-api:48.4.0", "")


def test_a_finished_upgrade_cannot_be_undone(project: Project) -> None:
    write_images(project, PLAN, BEGUN, None)
    now = text(project)
    finish(project)
    finish(project)
    restore_images(project)
    assert text(project) == now and read_unfinished(project) is None


def test_what_ran_is_restored_if_the_settings_did_not_name_it(project: Project) -> None:
    """A newer default, and a value that was never deployed, would start something else."""
    replaced = {
        "API_IMAGE": "r.example.com/open-balena-api:47.0.0",
        "VPN_IMAGE": "balena/open-balena-vpn:12.3.81@sha256:0a",
    }
    write_images(project, UpgradePlan("4.1.924", "", settings=IMAGES, replaced=replaced), BEGUN, None)
    restore_images(project)
    assert "API_IMAGE=r.example.com/open-balena-api:47.0.0  # pinned\n" in text(project)
    assert text(project).endswith("VPN_IMAGE=balena/open-balena-vpn:12.3.81@sha256:0a\n")


@pytest.mark.parametrize("content", ["{", "[1]", '{"version": "1"}'])
def test_a_damaged_record_is_named(project: Project, content: str) -> None:
    project.upgrading.write_text(content)
    with pytest.raises(OperationError, match=r"\.upgrading: damaged: expected the images before an upgrade"):
        read_unfinished(project)


def test_nothing_is_written_without_a_record(project: Project) -> None:
    project.upgrading.mkdir()
    with pytest.raises(
        OperationError, match=r"\.upgrading: cannot be written: Is a directory: fix this and run upgrad"
    ):
        write_images(project, PLAN, BEGUN, None)
    assert text(project) == BEFORE
