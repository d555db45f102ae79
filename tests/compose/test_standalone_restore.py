"""The services of one machine, and all their volumes, are destroyed and come back from a backup: into a directory with
nothing but the repository's address and password. The command is killed on the way. The expected time is 90 seconds."""

import shutil

import pytest
from machine import Machine

from openbalena.lab import base

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
DIRECTORY = "/srv/openbalena-restored-machine"
REPOSITORY = f"BACKUP_REPOSITORY={DIRECTORY}\nBACKUP_PASSWORD=a-password-of-the-test\n"
SUM = "SELECT count(*), md5(string_agg(word, ',' ORDER BY n)) FROM restored"


def sql(machine: Machine, statement: str) -> str:
    return inside(machine, "db", "psql", "-U", "docker", "-d", "resin", "-qtAc", statement)


def inside(machine: Machine, service: str, *words: str) -> str:
    """What a command says in the container of a service."""
    return machine.docker("exec", f"{machine.name}-{service}-1", *words).strip()


def content(machine: Machine) -> tuple[str, str]:
    """A sum of all rows of a table, and of every object."""
    sums = "cd /export && find . -type f ! -name '.openbalena*' | sort | xargs sha256sum"
    return sql(machine, SUM), inside(machine, "s3", "sh", "-c", sums)


def in_repository(machine: Machine, script: str) -> None:
    """The engine creates the directory, as it does every one that is to be mounted."""
    words = ("--rm", "--volume", f"{DIRECTORY}:/there", "--entrypoint", "sh")
    machine.docker("run", *words, base.IMAGE, "-c", script)


def test_everything_is_there_again_after_all_is_lost(machine: Machine) -> None:
    with machine.project.env_file.open("a") as file:
        file.write(REPOSITORY)
    machine.run("up")
    in_repository(machine, "true")
    sql(machine, "CREATE TABLE restored AS SELECT n, md5(n::text) AS word FROM generate_series(1, 50000) n")
    write = "for n in $(seq 100); do head -c 20000 /dev/urandom >/export/registry-data/of-the-test-$n; done"
    inside(machine, "s3", "sh", "-c", write)
    before = content(machine)
    machine.run("backup", "create")
    machine.run("destroy", "--yes")
    kept = machine.project.pki / "ca-0-key.pem"
    authority = kept.read_bytes()
    for path in machine.directory.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    machine.project.env_file.write_text(REPOSITORY)
    machine.kill("restoring the database", "restore", "--machine")
    assert kept.read_bytes() == authority
    assert "is restored and its services run" in machine.run("restore", "--machine", "--no-verify").stdout
    assert content(machine) == before
    assert "its database was restored before" in machine.run("restore", "--machine", "--no-verify").stdout
    in_repository(machine, "rm -r /there/*")
