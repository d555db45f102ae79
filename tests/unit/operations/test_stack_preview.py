"""The stack as swarm-up would deploy it: names of images, the swarm's settings, and the command that deploys it."""

from dataclasses import replace
from pathlib import Path

import pytest
from fake_engine import FakeEngine

from openbalena import images
from openbalena.base.errors import UsageError
from openbalena.base.project import Project
from openbalena.docker.engine import Engine
from openbalena.operations import deployment
from openbalena.operations.built_images import planned_builds
from openbalena.operations.stack_preview import PreviewOptions, StackPreview, deploy_command, preview_stack
from openbalena.operations.workspace import Workspace

COMPOSE = """\
services:
  api: {image: "api:7", volumes: ["db-data:/data"], x-swarm: {stateful: [db-data]}}
  haproxy:
    image: ${HAPROXY_IMAGE:-openbalena/haproxy:latest}
    build: {context: ./image, args: {BASE: "base:1"}}
  web:
    image: ${WEB_IMAGE:-openbalena/web:latest}
    build: {context: ./image}
  more: {image: "more:7", profiles: [mine]}
volumes: {db-data: {}}
x-swarm:
  networks:
    default: {driver: overlay}
"""
PLAIN = {"haproxy": "openbalena/haproxy:latest", "web": "openbalena/web:latest"}
NOT_BUILT = "The engine has not built it yet: run ./open-balena.sh swarm-build"


@pytest.fixture
def workspace(project: Project, tmp_path: Path) -> Workspace:
    root = tmp_path / "root"
    (root / "image").mkdir(parents=True)
    (root / "image" / "Dockerfile").write_text("ARG BASE=scratch\nFROM $BASE\n")
    (root / "docker-compose.yml").write_text(COMPOSE)
    return Workspace(replace(project, root=root), lab=False)


def preview(workspace: Workspace, *profiles: str) -> StackPreview:
    return preview_stack(PreviewOptions(profiles), workspace)


def setting(workspace: Workspace, **values: str) -> None:
    with workspace.project.env_file.open("a") as file:
        file.write("".join(f"{name}={value}\n" for name, value in values.items()))


def content_names(workspace: Workspace, base: str = "id of base:1") -> dict[str, str]:
    """The name of each built image for a base image of this id."""
    planned = planned_builds(deployment.load(workspace.project, lab=False), lab=False)
    return {build.service: build.image for build in images.tagged(planned, lambda name: base)}


def shown(found: StackPreview) -> dict[str, str]:
    services = found.deployment.compiled.document["services"]
    return {name: body["image"] for name, body in services.items() if name in PLAIN}


def test_what_the_engine_has_is_named_by_its_content(workspace: Workspace, fake: FakeEngine) -> None:
    names = content_names(workspace)
    fake.images |= {"base:1", *names.values()}
    found = preview(workspace)
    assert shown(found) == names and found.placeholders == () and found.placeholder_warning == ""
    assert found.engine and found.engine.name == Engine.name and found.resolve_image == "never"


def test_what_it_lacks_is_a_placeholder(workspace: Workspace, fake: FakeEngine) -> None:
    names = content_names(workspace)
    fake.images |= {"base:1", names["web"]}
    found = preview(workspace)
    assert shown(found) == {"haproxy": PLAIN["haproxy"], "web": names["web"]}
    assert found.placeholders == (PLAIN["haproxy"],) and found.reason == NOT_BUILT and found.engine
    assert found.placeholder_warning == (
        "openbalena/haproxy:latest is a placeholder: swarm-up deploys locally built images by a tag derived from their "
        f"content. Do not deploy this over a running stack. {NOT_BUILT}"
    )
    fake.images.clear()
    found = preview(workspace)
    assert shown(found) == PLAIN and found.placeholders == tuple(sorted(PLAIN.values()))
    assert found.placeholder_warning.startswith(f"{PLAIN['haproxy']}, {PLAIN['web']} are placeholders: ")


def test_a_registry_may_have_what_is_made_of_the_same_base(workspace: Workspace, fake: FakeEngine) -> None:
    setting(workspace, IMAGE_PREFIX="registry.example.com/ob", IMAGE_TAG="7")
    found, names = preview(workspace), content_names(workspace)
    assert found.resolve_image == "changed"
    assert shown(found)["web"] == names["web"], "without a base image the name is known"
    assert found.placeholders == ("registry.example.com/ob/haproxy:7",)
    fake.images.add("base:1")
    found = preview(workspace)
    assert shown(found) == names and found.placeholders == ()


def test_without_an_engine_every_name_is_a_placeholder(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    found = preview(workspace)
    assert found.engine is None and shown(found) == PLAIN and found.reason.startswith("No engine could be reached: ")


def test_an_engine_that_fails_on_the_way_counts_as_none(workspace: Workspace, fake: FakeEngine) -> None:
    fake.images |= {"base:1", *content_names(workspace).values()}
    fake.says = {"LocalNodeState": "active", "ControlAvailable": True}
    fake.swarm.nodes.clear()
    fake.refused = "not now"
    found = preview(workspace)
    assert found.engine is None and "not now" in found.reason and shown(found) == PLAIN


@pytest.mark.parametrize("encrypted", [True, False])
def test_a_manager_decides_what_its_swarm_has(encrypted: bool, workspace: Workspace, fake: FakeEngine) -> None:
    labels = {"com.docker.stack.namespace": "openbalena"}
    options = {"encrypted": ""} if encrypted else {}
    fake.swarm.create_network({"Name": "openbalena_default", "Driver": "overlay", "Labels": labels, "Options": options})
    fake.swarm.asked_for = {"DefaultAddrPool": ["10.77.0.0/16"]}
    found = preview(workspace).deployment
    assert found.settings["SWARM_ENCRYPTED"] == ("true" if encrypted else "false")
    assert found.settings["SWARM_ADDRESS_POOL"] == "10.77.0.0/16"
    fake.says = {"ControlAvailable": False}
    found = preview(workspace).deployment
    assert found.settings["SWARM_ENCRYPTED"] == "true" and found.settings["SWARM_ADDRESS_POOL"] != "10.77.0.0/16"


def test_profiles_and_nfs(workspace: Workspace) -> None:
    assert "more" not in preview(workspace).deployment.compiled.document["services"]
    found = preview(workspace, "mine", "other").deployment
    assert "more" in found.compiled.document["services"]
    assert found.settings["COMPOSE_PROFILES"] == "mine,other"
    assert "driver_opts" not in (found.compiled.document["volumes"]["db-data"] or {})
    setting(workspace, USE_NFS="true", NFS_HOST="nfs.example.com", NFS_PATH="/srv")
    volumes = preview(workspace).deployment.compiled.document["volumes"]
    assert volumes["db-data"]["driver_opts"]["device"] == ":/srv/db-data"


def test_warnings_of_the_settings_and_settings_that_are_wrong(workspace: Workspace) -> None:
    setting(workspace, SUPERUSER_EMAL="x")
    (warning,) = preview(workspace).warnings
    assert "SUPERUSER_EMAL" in warning
    setting(workspace, USE_NFS="true", NFS_HOST="nfs.example.com", NFS_VOLUMES="other")
    with pytest.raises(UsageError, match="NFS_VOLUMES: other"):
        preview(workspace)


@pytest.mark.parametrize(
    ("engine", "program"),
    [
        (None, "docker"),
        (Engine(), "docker"),
        (Engine(cli="sh", host="unix:///a b"), "/bin/sh --host 'unix:///a b'"),
    ],
)
def test_the_command_that_deploys_it(
    engine: Engine | None, program: str, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = replace(preview(workspace), engine=engine, resolve_image="changed")
    monkeypatch.setenv("PATH", "/bin")
    options = "--detach=true --with-registry-auth --resolve-image=changed"
    assert deploy_command(found, Path("/my dir")) == (
        f"(set -a; . '/my dir/deploy.env'; {program} stack deploy {options} "
        "--compose-file '/my dir/stack.yml' openbalena)"
    )
