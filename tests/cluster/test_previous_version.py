"""A deployment of an earlier commit, with data and a device, is updated to this one and goes back, in both modes."""

import secrets
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from deployed_project import PATIENCE, STACK
from lab_target import lab_target
from own_lab import running_lab
from waiting import eventually

from openbalena.base.files import write_atomic
from openbalena.base.project import ROOT, Project
from openbalena.docker import logs
from openbalena.operations.engines import default_engine
from openbalena.swarm import service_update, state
from openbalena.verify import Target, account, vpn

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2400)]

# What was published last: every release moves it.
PREVIOUS = "2bf77510f7df87b7879658e5693b78bf824bffea"


@dataclass(frozen=True)
class Version:
    """One checkout, and the project directory that it deploys."""

    checkout: Path
    project: Project

    def run(self, *words: str) -> str:
        """One command of that checkout, on the lab; it has to succeed."""
        done = subprocess.run(
            [self.checkout / "open-balena.sh", "--lab", "--project-directory", self.project.directory, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"{self.checkout.name}: {words}: {done.stdout}\n{done.stderr}"
        return done.stdout


@dataclass(frozen=True)
class Fleet:
    """What was written before the update: a fleet by its name, and a device's uuid and key."""

    name: str
    uuid: str
    key: str


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of the earlier commit; this clone has to have its history."""
    directory = tmp_path_factory.mktemp("previous") / "openbalena"
    directory.mkdir()
    archive = subprocess.run(["git", "archive", PREVIOUS], cwd=ROOT, capture_output=True, check=False, timeout=60)
    if archive.returncode != 0:
        pytest.skip(f"{PREVIOUS[:12]} is not in this clone, which needs the whole history: {archive.stderr.decode()}")
    subprocess.run(["tar", "--extract", "--directory", directory], input=archive.stdout, check=True, timeout=60)
    return directory


@pytest.fixture(scope="module")
def own_lab() -> Iterator[None]:
    """A lab with the root of the images too.

    Of two nodes, so that one of them has the stand-in for the Internet while an update replaces the other's: an api
    that starts without it ends.
    """
    with running_lab("*", managers=2):
        yield


def outside(project: Project) -> Target:
    return lab_target(project)


def written(to: Target) -> Fleet:
    """A fleet with a device, which stay."""
    address, token, name = to.addresses[0], account.log_in(to, to.addresses[0]), f"kept-{secrets.token_hex(4)}"
    fields = {"app_name": name, "organization": 1, "is_for__device_type": 1}
    answer = account.query(to, "POST", address, "/v7/application", token, fields)
    assert answer.status_code == 201, answer.text
    uuid, key = vpn.register(to, account.Application(int(answer.json()["id"]), name, token), 0)
    return Fleet(name, uuid, key)


def require_kept(to: Target, fleet: Fleet, directory: Path) -> None:
    """The fleet is there and its device connects, with the key and the CA that it had from the start."""
    token = account.log_in(to, to.addresses[0])
    path = "/v7/application?$filter=" + quote(f"app_name eq '{fleet.name}'")
    found = account.rows(account.query(to, "GET", to.addresses[0], path, token))
    assert [row["app_name"] for row in found] == [fleet.name]
    credentials = directory / "credentials"
    write_atomic(credentials, f"{fleet.uuid}\n{fleet.key}\n", 0o600)
    words = vpn.command(to, to.addresses[0], directory / "device-ca.pem", credentials)
    eventually("the device's VPN connection", lambda: _connects(words))


def _connects(words: list[str]) -> bool:
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as client:
        try:
            return any(vpn.CONNECTED in line for line in client.stdout or ())
        finally:
            client.kill()


def require_none_refused() -> None:
    """No task of the api, of before or of now, ever showed Redis less than it asked for."""
    with default_engine(True).client() as client:
        cluster = state.read_cluster(client, STACK)
    service = service_update.find_service(cluster, "api")
    lines, _ = logs.of_tasks(default_engine(True), [task.id for task in cluster.tasks_of(service)] if service else [])
    assert lines
    assert [line for line in lines if "uthentication required" in line or "username-password" in line] == []


def updated_and_back(old: Version, new: Version, steps: list[tuple[str, ...]], down: tuple[str, ...]) -> None:
    directory = old.project.directory
    try:
        for words in (("config", "--dns-tld", "my.example.com", "--yes"), *steps):
            old.run(*words)
        shutil.copy(directory / "pki" / "ca-bundle.pem", directory / "device-ca.pem")
        fleet = written(outside(old.project))
        require_kept(outside(old.project), fleet, directory)
        kept = {path.name: path.read_bytes() for path in (directory / "pki").glob("*key*")}
        for version in (new, old):
            for words in (("config", "--yes"), *steps):
                version.run(*words)
            if version is new and ("swarm-up",) in steps:
                require_none_refused()
            require_kept(outside(old.project), fleet, directory)
            assert {name: (directory / "pki" / name).read_bytes() for name in kept} == kept
    finally:
        new.run(*down)


def test_a_cluster_is_updated_and_goes_back(own_lab: None, previous: Path, tmp_path: Path) -> None:
    project = Project(directory=tmp_path / "project")
    project.directory.mkdir()
    steps: list[tuple[str, ...]] = [("swarm-init",), ("swarm-build",), ("swarm-up",)]
    versions = (Version(previous, project), Version(ROOT, project))
    updated_and_back(*versions, steps, ("swarm-down", "--volumes", "--yes"))


def test_one_machine_is_updated_and_goes_back(own_lab: None, previous: Path, tmp_path: Path) -> None:
    project = Project(directory=tmp_path / "project")
    project.directory.mkdir()
    versions = (Version(previous, project), Version(ROOT, project))
    updated_and_back(*versions, [("up",)], ("destroy", "--yes"))
