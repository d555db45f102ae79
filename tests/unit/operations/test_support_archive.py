"""doctor --bundle: what is in the archive, and that no secret is."""

import hashlib
import json
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine
from fake_swarm import Row, stack_service
from hearing import Listener

from openbalena import settings
from openbalena.base.project import Project
from openbalena.cli.main import main
from openbalena.operations.doctor import dismiss
from openbalena.operations.support_archive import ArchiveResult, write_archive
from openbalena.operations.workspace import Workspace
from openbalena.swarm import releases
from openbalena.swarm.releases import Release

STACK = "openbalena"
# Secrets of the user, which no setting names: each in one place.
PLANTED = {
    name: f"planted-{name}-5f3a9c"
    for name in ("env", "url", "label", "container-label", "volume", "driver", "node-label", "network-label", "jwt",
                 "own", "header", "previous", "release-label", "pem")
}  # fmt: skip


@pytest.fixture
def workspace(project: Project) -> Workspace:
    with project.env_file.open("a") as file:
        file.write(f"MY_OWN={PLANTED['own']}\n")
    return Workspace(project, lab=False)


def broken_service(known: str) -> dict[str, Any]:
    """A service with a secret in each place; `known` is one of a setting."""
    spec = stack_service(
        "web",
        STACK,
        Env=[f"MY_TOKEN={PLANTED['env']}", f"DNS_TLD=http://u:{PLANTED['url']}@x", f"OTHER={known}"],
        Args=["run", "--key", known, f"--password={PLANTED['driver']}", f"--own={PLANTED['own']}"],
        Healthcheck={"Test": ["CMD", "curl", f"https://x?apikey={known}"]},
    )
    container = spec["TaskTemplate"]["ContainerSpec"]
    spec["Labels"] = {**spec["Labels"], "proxy.auth": PLANTED["label"]}
    container["Labels"] = {**container["Labels"], "proxy.auth": PLANTED["container-label"]}
    options = {"o": f"username=a,password={PLANTED['volume']}"}
    container["Mounts"] = [
        {"Type": "volume", "Source": "a", "Target": "/a", "VolumeOptions": {"DriverConfig": {"Options": options}}}
    ]
    spec["TaskTemplate"]["LogDriver"] = {"Name": "splunk", "Options": {"splunk-token": PLANTED["driver"]}}
    return spec


def plant(workspace: Workspace, fake: FakeEngine) -> list[str]:
    """Put secrets wherever the archive reads; returns them."""
    values = settings.read(workspace.project)
    known = values["API_SERVICE_API_KEY"]
    fake.swarm.create("services", stack_service("api", STACK))
    fake.swarm.fates[f"{STACK}_web"] = [[Row(0, "starting", f"refused {known}")]]
    service = fake.swarm.named("services", fake.swarm.create("services", broken_service(known)))
    service["PreviousSpec"] = {"TaskTemplate": {"ContainerSpec": {"Env": [f"X={PLANTED['previous']}"]}}}
    fake.swarm.nodes["id-node1"]["Spec"]["Labels"]["password.of"] = PLANTED["node-label"]
    fake.swarm.create_network({"Name": f"{STACK}_x", "Driver": "overlay", "Labels": {"a": PLANTED["network-label"]}})
    key = (workspace.project.pki / "ca-0-key.pem").read_text().splitlines()
    fake.swarm.logs[f"{STACK}_web"] = [
        "an innocent line",
        f"logged in with {known}",
        f"token eyJhbGciOiJIUzI1NiJ9.{PLANTED['jwt']}.{PLANTED['jwt']}",
        f"Authorization: Bearer {PLANTED['header']}",
        *key,
        "-----BEGIN PRIVATE KEY-----",
        PLANTED["pem"],
        "-----END PRIVATE KEY-----",
        "the last line",
    ]
    fake.swarm.logs[f"{STACK}_api"] = ["of a healthy service"]
    fake.says = {"Error": "", "Note": "SWMTKN-1-inthe-info"}
    document = {"services": {"web": {"image": "a:1"}}}
    changes = {"web": [f"labels: proxy.auth {PLANTED['release-label']}", f"command: {known}"]}
    release = Release(1, "me@here", "2026-11-26T10:00:00+00:00", "swarm-up", f"with {known}", changes=changes,
                      document=document)  # fmt: skip
    with fake.engine.client() as client:
        releases.begin(client, STACK, release)
    dismiss(workspace, "disk-1a2b3c", f"the reason {known}")
    return [*PLANTED.values(), *values.secrets.values(), "SWMTKN", *(line for line in key if "-" not in line)]


def unpacked(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        members = archive.getmembers()
        assert all(each.isfile() and each.mode == 0o600 for each in members)
        return {each.name.partition("/")[2]: (archive.extractfile(each) or path.open("rb")).read().decode()
                for each in members}  # fmt: skip


def written(workspace: Workspace, tmp_path: Path) -> tuple[ArchiveResult, dict[str, str]]:
    path = tmp_path / "support.tar.gz"
    return write_archive(path, 50, workspace, Listener()), unpacked(path)


def test_no_part_of_a_planted_secret_is_in_the_archive(workspace: Workspace, fake: FakeEngine, tmp_path: Path) -> None:
    planted = plant(workspace, fake)
    result, found = written(workspace, tmp_path)
    assert result.missing == {}
    everything = "\n".join([*found, *found.values()])
    for secret in planted:
        # Nor must half of one remain.
        for part in (secret, secret[: len(secret) // 2], secret[len(secret) // 2 :]):
            assert part not in everything, secret
    assert "innocent" in found["logs/web.log"] and "the last line" in found["logs/web.log"]


def test_what_helps_is_in_the_archive(workspace: Workspace, fake: FakeEngine, tmp_path: Path) -> None:
    plant(workspace, fake)
    result, found = written(workspace, tmp_path)
    assert (
        set(found)
        == {"manifest.json", *result.files}
        == {
            *("manifest.json", "versions.json", "settings.json", "doctor.json", "releases.json", "engine.json"),
            *("swarm.json", "swarm-status.json", "logs/web.log"),
        }
    )
    swarm, status = json.loads(found["swarm.json"]), json.loads(found["swarm-status.json"])
    assert {each["Spec"]["Name"] for each in swarm["services"]} == {f"{STACK}_api", f"{STACK}_web"}
    assert swarm["nodes"][0]["Description"]["Hostname"] == "node1" and swarm["tasks"] and swarm["networks"]
    assert f"openbalena-release-{STACK}-1" in swarm["configs"]
    assert status["stack"] == STACK and json.loads(found["settings.json"])["DNS_TLD"] == "my.example.com"
    assert json.loads(found["releases.json"])[0]["changes"]["web"][0] == "labels"
    assert json.loads(found["engine.json"])["ServerVersion"] == "28.5.2"
    assert json.loads(found["versions.json"])["docker"]["Server"]["Version"] == "28.5.2"
    assert all(re.match("[a-z]+-[0-9a-f]{6}$", each["id"]) for each in json.loads(found["doctor.json"]))


def test_the_manifest_has_the_checksum_of_each_file(workspace: Workspace, fake: FakeEngine, tmp_path: Path) -> None:
    result, found = written(workspace, tmp_path)
    manifest = json.loads(found["manifest.json"])
    assert list(manifest["files"]) == sorted(result.files)
    for name, described in manifest["files"].items():
        data = found[name].encode()
        assert described == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def test_only_its_owner_can_read_it_and_nothing_else_is_left(
    workspace: Workspace, fake: FakeEngine, tmp_path: Path
) -> None:
    directory = tmp_path / "out"
    directory.mkdir()
    path = directory / "support.tar.gz"
    path.write_text("an older one")
    path.chmod(0o644)
    result = write_archive(path, 50, workspace, Listener())
    assert path.stat().st_mode & 0o777 == 0o600 and path.stat().st_size == result.size
    assert list(directory.iterdir()) == [path]


def test_without_a_swarm_the_rest_is_written(
    workspace: Workspace, fake: FakeEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.says = {"ControlAvailable": False}
    path = tmp_path / "support.tar.gz"
    arguments = ["--project-directory", str(workspace.project.directory), "doctor", "--bundle", str(path)]
    assert main(arguments) == 0
    shown = capsys.readouterr()
    found = unpacked(path)
    assert set(found) == {"manifest.json", "versions.json", "settings.json", "engine.json"}
    assert json.loads(found["manifest.json"])["missing"].keys() == {
        *("doctor.json", "releases.json", "swarm.json", "swarm-status.json")
    }
    assert "warning: swarm.json is missing in the archive: " in shown.err and "is a worker" in shown.err
    assert f"{path}: 3 files, " in shown.out


@pytest.mark.parametrize("name", ["missing/x.tar.gz", "."])
def test_a_path_that_cannot_be_written_is_refused_at_once(
    name: str, workspace: Workspace, fake: FakeEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--project-directory", str(workspace.project.directory), "doctor", "--bundle", str(tmp_path / name)]
    assert main(arguments) == 2
    assert "expected the path of a file in a directory that exists" in capsys.readouterr().err
    assert fake.swarm.asked == []
