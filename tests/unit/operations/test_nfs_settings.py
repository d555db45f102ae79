"""Volumes on an NFS server: the question about the database, and the files that are written."""

from pathlib import Path

import pytest
from hearing import Listener

from openbalena.base.errors import OperationError
from openbalena.base.project import Project
from openbalena.compose import dotenv
from openbalena.operations.nfs_settings import confirm_database_on_nfs, write_nfs_settings


@pytest.mark.parametrize(
    ("volumes", "agrees", "asked", "refused"),
    [
        (["s3-data"], False, 0, False),
        ([], False, 0, False),
        (["db-data", "s3-data"], True, 1, False),
        (["db-data"], False, 1, True),
    ],
)
def test_the_database_alone_needs_a_question(volumes: list[str], agrees: bool, asked: int, refused: bool) -> None:
    listener = Listener(agrees=agrees)
    if refused:
        with pytest.raises(OperationError, match="^nothing was changed: name the volumes for NFS with --nfs-volumes$"):
            confirm_database_on_nfs(volumes, listener)
    else:
        confirm_database_on_nfs(volumes, listener)
    assert len(listener.questions) == len(listener.heard) == asked


def test_both_files_are_written_and_a_link_stays_one(tmp_path: Path) -> None:
    project, file = Project(directory=tmp_path), tmp_path / "nfs.yml"
    (tmp_path / "real.env").write_text("# mine\nDNS_TLD=my.example.com\nNFS_HOST=old\n")
    project.env_file.symlink_to("real.env")
    write_nfs_settings(project, file, "volumes: {}\n", {"NFS_HOST": "nfs.example.com", "USE_NFS": "true"})
    assert file.read_text() == "volumes: {}\n" and project.env_file.is_symlink()
    values = dotenv.read_file(project.env_file).values
    assert (values["DNS_TLD"], values["NFS_HOST"], values["USE_NFS"]) == ("my.example.com", "nfs.example.com", "true")
    assert project.env_file.read_text().startswith("# mine\n")
    assert (tmp_path / "real.env").stat().st_mode & 0o777 == 0o600


def test_the_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    project = Project(directory=tmp_path)
    project.env_file.write_text("DNS_TLD=my.example.com\n")
    (tmp_path / "nfs.yml").mkdir()
    with pytest.raises(OperationError, match="nfs.yml: cannot be written: Is a directory"):
        write_nfs_settings(project, tmp_path / "nfs.yml", "", {"NFS_HOST": "nfs.example.com"})
    assert project.env_file.read_text() == "DNS_TLD=my.example.com\n"
