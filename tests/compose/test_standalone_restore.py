"""The services of one machine, and all their volumes, are destroyed and come back from a backup: into a directory with
nothing but the repository's address and password. The command is killed on the way. Then a backup is restored as a
clone under another domain. The expected time is 150 seconds."""

import json
import shutil

import pytest
from machine import DNS_TLD, Machine

from openbalena.lab import base

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
DIRECTORY = "/srv/openbalena-restored-machine"
REPOSITORY = f"BACKUP_REPOSITORY={DIRECTORY}\nBACKUP_PASSWORD=a-password-of-the-test\n"
CLONE = "clone.example.org"
# What a clone uses of the real api's tables, whose names the stand-in does not have, and a device that is connected.
REAL = """
CREATE TABLE "service instance" (id SERIAL PRIMARY KEY, "ip address" TEXT NOT NULL);
CREATE TABLE image (id SERIAL PRIMARY KEY, "is stored at-image location" VARCHAR(255) NOT NULL UNIQUE);
INSERT INTO "service instance" ("ip address") VALUES ('192.0.2.1');
INSERT INTO image ("is stored at-image location") VALUES ('registry2.openbalena.test/v2/abc'), ('docker.io/library/x');
ALTER TABLE device ADD COLUMN "device name" VARCHAR(255), ADD COLUMN "belongs to-application" INTEGER,
    ADD COLUMN "is online" BOOLEAN DEFAULT FALSE NOT NULL,
    ADD COLUMN "is connected to vpn" BOOLEAN DEFAULT FALSE NOT NULL,
    ADD COLUMN "api heartbeat state" VARCHAR(255) DEFAULT 'unknown' NOT NULL,
    ADD COLUMN "last connectivity event" TIMESTAMPTZ, ADD COLUMN "is managed by-service instance" INTEGER;
INSERT INTO device_type (slug, name) VALUES ('of-the-test', 'of the test');
INSERT INTO application (app_name, slug, uuid, organization, is_for__device_type, provisioning_key)
    SELECT 'fleet', 'admin/fleet', 'f1', organization.id, device_type.id, 'key' FROM organization, device_type
    WHERE device_type.slug = 'of-the-test';
INSERT INTO device (uuid, api_key, belongs_to__application, "belongs to-application", "device name", "is online",
    "is connected to vpn", "is managed by-service instance")
    SELECT 'd1', 'key', id, id, 'first', TRUE, TRUE, 1 FROM application WHERE slug = 'admin/fleet';
"""
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


def lose(machine: Machine) -> None:
    """Leave nothing but the repository's address and password."""
    for path in machine.directory.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    machine.project.env_file.write_text(REPOSITORY)


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
    lose(machine)
    machine.kill("restoring the database", "restore", "--machine")
    assert kept.read_bytes() == authority
    assert "is restored and its services run" in machine.run("restore", "--machine", "--no-verify").stdout
    assert content(machine) == before
    assert "its database was restored before" in machine.run("restore", "--machine", "--no-verify").stdout
    in_repository(machine, "rm -r /there/*")


def test_a_clone_has_a_ca_of_its_own_and_lists_the_devices_that_have_to_join(machine: Machine) -> None:
    """It comes after its original here, on the same machine; it ends with the checks of verify."""
    if "DNS_TLD" not in machine.env:
        machine.run("config", "--dns-tld", DNS_TLD, "--yes")
    if REPOSITORY not in machine.env:
        with machine.project.env_file.open("a") as file:
            file.write(REPOSITORY)
    machine.run("up")
    in_repository(machine, "true")
    sql(machine, REAL)
    machine.run("backup", "create")
    authority, password = (machine.project.pki / "ca-0.pem").read_bytes(), machine.run("showpass").stdout
    machine.run("destroy", "--yes")
    lose(machine)
    made = json.loads(machine.run("restore", "--machine", "--as", CLONE, "--json").stdout)
    assert (made["domain"], made["from"], made["failing"]) == (CLONE, DNS_TLD, [])
    device = {"uuid": "d1", "name": "first", "fleet": "admin/fleet", "seen": ""}
    assert device in made["unjoined"] and made["rows"] > 0
    assert (machine.project.pki / "ca-0.pem").read_bytes() != authority
    assert machine.run("showpass").stdout != password
    images = sql(machine, 'SELECT "is stored at-image location" FROM image ORDER BY 1')
    assert images.split() == ["docker.io/library/x", f"registry2.{CLONE}/v2/abc"]
    assert sql(machine, 'SELECT count(*) FROM "service instance"') == "0"
    in_repository(machine, "rm -r /there/*")
