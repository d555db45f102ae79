"""Volumes of one machine on NFS: what Compose is told, and which volumes stand against it."""

from pathlib import Path

import pytest

from openbalena import compose
from openbalena.base.project import Project
from openbalena.machine import nfs_volumes

SETTINGS = {"NFS_HOST": "nfs.example.com", "NFS_PORT": "2049", "NFS_PATH": "/a$b"}
LOCAL: nfs_volumes.Options = {}
HERE = {"type": "nfs", "o": "addr=10.0.0.1", "device": ":/a/db-data"}
THERE = {**HERE, "o": "addr=10.0.0.2"}
BIND = {"type": "none", "o": "bind", "device": "/srv/db"}


@pytest.mark.parametrize(
    ("wanted", "has", "words"),
    [
        (HERE, LOCAL, ("would hide: db-data", "docker volume rm one_db-data", "out of NFS_VOLUMES", "on box")),
        (HERE, BIND, ("would hide: db-data",)),
        (LOCAL, HERE, ("with data on NFS", "docker volume rm one_db-data", "COMPOSE_FILE")),
        (THERE, HERE, ("is at :/a/db-data (addr=10.0.0.1)", "(addr=10.0.0.2)")),
    ],
)
def test_a_volume_elsewhere_is_named_with_the_steps(
    wanted: nfs_volumes.Options, has: nfs_volumes.Options, words: tuple[str, ...]
) -> None:
    (sentence,) = nfs_volumes.differing_volumes({"db-data": ("one_db-data", wanted)}, {"one_db-data": has}, "box")
    for word in words:
        assert word in sentence


@pytest.mark.parametrize(
    ("wanted", "there"),
    [
        (HERE, {}),
        (HERE, {"one_db-data": HERE}),
        (LOCAL, {"one_db-data": LOCAL, "two_db-data": HERE}),
        (LOCAL, {"one_db-data": BIND}),  # the user's own business
    ],
)
def test_a_volume_in_its_place_or_not_there_is_said_nothing_about(
    wanted: nfs_volumes.Options, there: dict[str, nfs_volumes.Options]
) -> None:
    assert not list(nfs_volumes.differing_volumes({"db-data": ("one_db-data", wanted)}, there, "box"))


def test_the_file_says_the_same_to_compose(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("services: {db: {image: 'x:1', volumes: [db-data:/d]}}\nvolumes: {db-data: {}}\n")
    (tmp_path / "nfs.yml").write_text(nfs_volumes.override_text(SETTINGS, ["db-data"]))
    loaded = compose.load([tmp_path / "a.yml", tmp_path / "nfs.yml"], environment={"b": "wrong"})
    options = loaded.model["volumes"]["db-data"]["driver_opts"]
    assert options["device"] == ":/a$b/db-data"
    assert options["o"].startswith("addr=nfs.example.com,port=2049,nfsvers=4.1,rw,hard,")


@pytest.mark.parametrize(
    ("env", "override", "expected"),
    [
        ("", False, "docker-compose.yml:docker-compose.nfs.yml"),
        ("", True, "docker-compose.yml:docker-compose.nfs.yml:docker-compose.override.yml"),
        # Written before there was an override file, or before it went.
        (
            "COMPOSE_FILE=docker-compose.yml:docker-compose.nfs.yml",
            True,
            "docker-compose.yml:docker-compose.nfs.yml:docker-compose.override.yml",
        ),
        (
            "COMPOSE_FILE=docker-compose.yml:docker-compose.nfs.yml:docker-compose.override.yml",
            False,
            "docker-compose.yml:docker-compose.nfs.yml",
        ),
        # A list of the user's own stays, and gets ours once.
        ("COMPOSE_FILE=docker-compose.yml:mine.yml", True, "docker-compose.yml:mine.yml:docker-compose.nfs.yml"),
        ("COMPOSE_FILE=docker-compose.nfs.yml:mine.yml", True, "docker-compose.nfs.yml:mine.yml"),
        ("COMPOSE_FILE=a.yml,b.yml\nCOMPOSE_PATH_SEPARATOR=,", True, "a.yml,b.yml,docker-compose.nfs.yml"),
    ],
)
def test_plain_docker_compose_reads_it_beside_the_users_files(
    tmp_path: Path, env: str, override: bool, expected: str
) -> None:
    project = Project(directory=tmp_path, root=tmp_path)
    project.env_file.write_text(f"{env}\n")
    if override:
        project.override_file.write_text("services: {}\n")
    assert nfs_volumes.compose_file(project) == expected
