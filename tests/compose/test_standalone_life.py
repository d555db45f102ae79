"""The life of a deployment on one machine: up, the acceptance checks, restart, down, up with its data, destroy."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import acceptance
import pytest
from dead_peers import LIMITED, LIMITS
from machine import DNS_TLD, Machine, environment
from waiting import eventually

from openbalena import settings
from openbalena.base.names import HOLDER_LABEL
from openbalena.pki import database_login
from openbalena.verify.account import bearer, device_types, log_in
from openbalena.verify.web import Web

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

OVERRIDE = "services: {redis: {labels: {mine: here}}}\n"


@pytest.fixture(scope="module")
def up(machine: Machine) -> str:
    """What `up` says after two that were killed: when balena-ca had got its CA, and while services were starting."""
    for step in ("copied the private CA", "starting 10 services"):
        machine.kill(step, "up")
    done = machine.run("up")
    return done.stdout + done.stderr


def test_up_says_where_to_log_in_and_no_secret(up: str, machine: Machine) -> None:
    login = f"balena login --credentials --email admin@{DNS_TLD}"
    assert f"https://api.{DNS_TLD}" in up and login in up
    assert login in machine.run("status").stderr
    assert machine.run("status", "--json").stderr == ""
    for name, value in settings.read(machine.project).secrets.items():
        assert value not in up, name


@pytest.fixture
def subject(up: str, machine: Machine) -> acceptance.Subject:
    return acceptance.Subject(machine.directory, machine.target().addresses, machine.lab.cli.parent / "openvpn")


class TestAcceptance(acceptance.Acceptance):
    """On one machine."""

    answering = acceptance.Acceptance.answering | {"status"}


def test_both_modes_have_one_ca(up: str, machine: Machine) -> None:
    inside = machine.docker("exec", f"{machine.name}-balena-ca-1", "cat", "/pki/ca-0.pem")
    assert inside == (machine.directory / "pki" / "ca-0.pem").read_text()


def test_limits_for_dead_peers_reach_every_container(up: str, machine: Machine) -> None:
    project = ("--filter", f"label=com.docker.compose.project={machine.name}")
    found = machine.docker("ps", "--format", "{{.Names}}", *project).split()
    assert len(found) >= 8
    for container in found:
        if container == f"{machine.name}-internet-1":
            continue  # what stands for the world outside in tests
        assert machine.docker("exec", container, *LIMITS).split() == LIMITED, container


def test_the_ca_of_one_machine_is_not_rotated(up: str, machine: Machine) -> None:
    before = {path.name: path.read_bytes() for path in (machine.directory / "pki").iterdir()}
    done = machine.run("secrets", "rotate", "CA", "--yes", code=2)
    assert "On one machine (up) balena-ca's volume holds the CA" in done.stderr
    assert {path.name: path.read_bytes() for path in (machine.directory / "pki").iterdir()} == before


def test_ports_that_another_project_has_are_named_before_anything_starts(
    up: str, machine: Machine, tmp_path: Path
) -> None:
    other = Machine(tmp_path / "obtest-second", machine.lab)
    other.directory.mkdir()
    other.run("config", "--dns-tld", DNS_TLD, "--yes")
    done = other.run("up", code=1)
    for port in (80, 443):
        user = f"container {machine.name}-haproxy-1 of Compose project {machine.name}"
        assert f"port {port}/tcp (haproxy) is in use by {user}" in done.stderr
    assert "building" not in done.stderr and not other.volumes
    assert machine.docker("ps", "--all", "--quiet", "--filter", f"name={other.name}-") == ""


def test_a_program_of_this_machine_that_has_a_port_is_named(up: str, machine: Machine, tmp_path: Path) -> None:
    other = Machine(tmp_path / "obtest-third", machine.lab)
    other.directory.mkdir()
    other.run("config", "--dns-tld", DNS_TLD, "--yes")
    # The machine's own name is the engine's for this one process: as where an engine runs beside the programs.
    here = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', machine.lab.nodes[0].name]
    command = [sys.executable, "-m", "openbalena", "--project-directory", str(other.directory), "up"]
    programs = machine.lab.cli.parent
    beside = {
        **environment(),
        "PATH": f"{programs}:{os.environ['PATH']}",
        "DOCKER_CONFIG": str(programs),
        "DOCKER_HOST": machine.lab.host,
    }
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        other.project.override_file.write_text(f"services: {{haproxy: {{ports: ['{port}:80']}}}}\n")
        done = subprocess.run([*here, *command], env=beside, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and f"\n  port {port}/tcp (haproxy) is in use by " in done.stderr, done.stderr
    assert f" (process {os.getpid()})" in done.stderr


def test_logs_name_their_service(up: str, machine: Machine) -> None:
    lines = machine.run("logs", "redis", "haproxy", "--tail", "3").stdout.splitlines()
    assert lines and all(line.startswith(("redis-1", "haproxy-1")) for line in lines)
    assert "no such service: web" in machine.run("logs", "web", code=2).stderr


def test_logs_of_a_time_and_on_until_they_are_interrupted(up: str, machine: Machine) -> None:
    assert machine.run("logs", "redis", "--since", "2020-01-01").stdout
    assert machine.run("logs", "redis", "--since", "2099-01-01").stdout == ""
    # A shell starts what runs in its background with SIGINT ignored, and so the tests'.
    command = ["env", "--default-signal=INT", *machine.command("logs", "-f", "redis", "--tail", "1")]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as follower:
        try:
            assert follower.stdout and follower.stdout.readline().startswith("redis-1")
            time.sleep(2)
            assert follower.poll() is None, "it waits for more"
            follower.send_signal(signal.SIGINT)
            assert follower.wait(20) == 0
        finally:
            follower.kill()


def test_a_stopped_service_shows_and_starts_again_with_the_users_override(up: str, machine: Machine) -> None:
    machine.run("stop", "redis")
    machine.run("status", code=1)
    assert machine.status()["redis"] == "stopped"
    override = machine.directory / "docker-compose.override.yml"
    override.write_text(OVERRIDE)
    try:
        machine.run("up")
        labels = machine.docker("inspect", "--format", "{{json .Config.Labels}}", f"{machine.name}-redis-1")
        assert json.loads(labels)["mine"] == "here"
    finally:
        override.unlink()
    # Whoever has stopped one service for a while can restart another.
    machine.run("stop", "vpn")
    assert machine.run("restart", "redis").stdout == "redis: healthy.\n"
    machine.run("restart", "vpn")
    assert set(machine.status().values()) == {"ready"}
    assert machine.run("wait").returncode == 0


def test_data_is_there_after_down_and_up(up: str, machine: Machine) -> None:
    target = machine.target()
    device_types(target)  # waited for: they come after the start
    token = log_in(target, target.addresses[0])
    fields = {"app_name": "kept", "organization": 1, "is_for__device_type": 1}
    made = Web(target).request(
        "POST", target.addresses[0], "api", "/v7/application", json=fields, headers=bearer(token)
    )
    assert made.status_code == 201, made.text
    before, old = machine.volumes, settings.read(machine.project)
    assert "up, which updates api" in machine.run("secrets", "rotate", "DB_PASSWORD", "--yes").stdout
    assert "has not been deployed yet" in machine.run("secrets", "rotate", "DB_PASSWORD", "--yes", code=1).stderr
    machine.run("down")
    assert machine.volumes == before
    assert set(machine.status().values()) == {"stopped"}
    assert "Start the stopped services with " in machine.run("wait", code=1).stderr
    machine.run("up")
    path = f"/v7/application({made.json()['id']})"
    token = log_in(target, target.addresses[0])
    found = Web(target).request("GET", target.addresses[0], "api", "/v7/application", headers=bearer(token))
    assert "kept" in [row["app_name"] for row in found.json()["d"]], path
    new = settings.read(machine.project)
    assert {old["DB_USER"], new["DB_USER"]} == set(database_login.ROLES)
    assert _lets_in(machine, new["DB_USER"], new["DB_PASSWORD"])
    for role, password in ((old["DB_USER"], old["DB_PASSWORD"]), ("docker", "docker")):
        assert not _lets_in(machine, role, password)


@pytest.fixture
def repository(up: str, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """What a container that has the repository of the settings prints; its directory is created."""
    words = ["--rm", "--volume=/srv/obtest-backup:/repository", "--env=RESTIC_REPOSITORY=/repository"]
    words += ["--env=RESTIC_PASSWORD=a-password", "--entrypoint=sh", "openbalena-lab/db:latest", "-c"]
    monkeypatch.setenv("BACKUP_REPOSITORY", "/srv/obtest-backup")
    monkeypatch.setenv("BACKUP_PASSWORD", "a-password")

    def said(script: str) -> str:
        return machine.docker("run", *words, script)

    said("true")
    yield said
    said("rm -rf /repository/*")


def test_a_backup_has_the_rows_the_objects_and_the_settings(
    machine: Machine, repository: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "there are no backups in /srv/obtest-backup yet" in machine.run("backup", "list", code=1).stderr
    made = json.loads(machine.run("backup", "create", "--json").stdout)
    parts = ["database", "s3-data", "cert-manager-data", "settings"]
    assert list(made["parts"]) == parts and made["mode"] == "compose"
    words = ("psql", "-U", "docker", "-d", "resin", "-qtAc", 'SELECT count(*) FROM "user"')
    counted = machine.docker("exec", "--user", "postgres", f"{machine.name}-db-1", *words)
    assert made["rows"]["user"] == int(counted) > 0
    (listed,) = json.loads(machine.run("backup", "list", "--json").stdout)["backups"]
    assert listed["id"] == made["set"]
    assert made["set"] in machine.run("backup", "check").stdout
    settings = repository(f"restic dump {made['parts']['settings']['snapshot']} settings.tar.gz | tar -tz")
    assert {".env", "pki/ca-0-key.pem"} <= {line.removeprefix("./") for line in settings.splitlines()}
    monkeypatch.setenv("BACKUP_PASSWORD", "another-password")
    assert "wrong password" in machine.run("backup", "create", code=1).stderr
    assert not machine.docker("ps", "--all", "--quiet", "--filter", "label=openbalena.job")


def _lets_in(machine: Machine, role: str, password: str) -> bool:
    words = ("psql", "-h", "db", "-U", role, "-d", "resin", "-qtAc", "SELECT current_user")
    try:
        return machine.docker("exec", "--env", f"PGPASSWORD={password}", f"{machine.name}-db-1", *words) == "docker\n"
    except subprocess.CalledProcessError as error:
        assert "FATAL" in error.stderr, error.stderr
        return False


@pytest.fixture
def registry(up: str, machine: Machine, tmp_path: Path) -> Iterator[str]:
    """A registry on the machine itself, as that names it: Debian's, out of the stand-in's image, without S3."""
    settings = tmp_path / "registry.yml"
    settings.write_text('version: 0.1\nstorage: {filesystem: {rootdirectory: /tmp/store}}\nhttp: {addr: ":5000"}\n')
    name = "obtest-registry"
    words = ("--name", name, "--publish", "5000:5000", "--entrypoint", "docker-registry")
    machine.docker("create", *words, "openbalena-lab/registry:latest", "serve", "/settings.yml")
    try:
        machine.docker("cp", str(settings), f"{name}:/settings.yml")
        machine.docker("start", name)
        eventually("somebody listens on port 5000", lambda: _listens(machine.lab.nodes[0].address, 5000))
        yield "localhost:5000"
    finally:
        machine.docker("rm", "--force", name)


def _listens(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), 5).close()
    except OSError:
        return False
    return True


def test_update_takes_a_newer_image_of_the_same_tag_and_nothing_else_starts_anew(
    machine: Machine, registry: str, tmp_path: Path
) -> None:
    image = f"{registry}/mine/redis:8"
    (tmp_path / "Dockerfile").write_text("FROM openbalena-lab/redis:latest\nLABEL version=newer\n")
    machine.docker("tag", "openbalena-lab/redis:latest", image)
    machine.docker("push", "--quiet", image)
    override = machine.directory / "docker-compose.override.yml"
    override.write_text(f"services: {{redis: {{image: '{image}', build: !reset null}}}}\n")
    try:
        machine.run("up")
        machine.docker("build", "--quiet", "--tag", image, str(tmp_path))
        machine.docker("push", "--quiet", image)
        machine.docker("rmi", image)
        before = machine.containers()
        machine.run("update")
        changed = {name for name, container in machine.containers().items() if before[name] != container}
        assert changed == {f"{machine.name}-redis-1"}
        labels = machine.docker("inspect", "--format", "{{json .Config.Labels}}", f"{machine.name}-redis-1")
        assert json.loads(labels)["version"] == "newer"
    finally:
        override.unlink()


def test_destroy_asks_and_leaves_no_volume(up: str, machine: Machine) -> None:
    refused = machine.run("destroy", code=2)
    assert "--yes" in refused.stderr and f"{machine.name}_db-data" in refused.stderr
    assert machine.volumes
    others = set(machine.docker("volume", "ls", "--quiet").split()) - machine.volumes
    # What a command that was killed while it looked into the volume leaves.
    volume = f"{machine.name}_db-data:/held"
    machine.docker("create", "--label", HOLDER_LABEL, "--volume", volume, "openbalena-lab/api:latest")
    machine.kill("Stopping", "destroy", "--yes")
    machine.run("destroy", "--yes")
    assert set(machine.docker("volume", "ls", "--quiet").split()) == others
    assert machine.docker("ps", "--all", "--quiet", "--filter", f"name={machine.name}-") == ""
