"""What a stack document asks of a cluster, and the names of its secrets and configs."""

import hashlib
import string
from pathlib import Path
from typing import Any

import pytest
from cluster_builders import cluster, service, task
from hypothesis import given
from hypothesis import strategies as st

from openbalena.base.errors import OperationError
from openbalena.base.names import object_key, object_name
from openbalena.swarm import deploy, object_names
from openbalena.swarm.planned_services import pinned_volumes, planned_services, services_to_prune
from openbalena.swarm.single_points import find_single_points
from openbalena.swarm.state import PublishedPort, SwarmService

DOCUMENT: dict[str, Any] = {
    "services": {
        "db": {
            "image": "db:1",
            "environment": {"TLD": "my.example.com"},
            "volumes": [
                {"type": "volume", "source": "db-data", "target": "/d"},
                "/var/run/docker.sock:/x",
                "logs:/l:ro",
            ],
            "deploy": {"placement": {"constraints": ["node.labels.openbalena.data.db-data == true"]}},
        },
        "remote": {
            "ports": [{"target": "22-23", "published": "10000-10001", "mode": "host"}, {"target": 9}],
            "deploy": {"mode": "global", "update_config": {"order": "start-first"}},
        },
    }
}


def test_services_of_a_document() -> None:
    db, remote = planned_services(DOCUMENT, "ob")
    assert (db.name, db.short_name, db.replicas, db.volumes) == ("ob_db", "db", 1, ("db-data", "logs"))
    assert pinned_volumes(db) == ("db-data",)
    assert (db.domain, remote.domain) == ("my.example.com", "")
    assert remote.replicas is None and remote.update_order == "start-first"
    assert [(port.published, port.target, port.mode) for port in remote.ports] == [
        (10000, 22, "host"),
        (10001, 23, "host"),
    ]


def test_values_that_a_document_leaves_out() -> None:
    (found,) = planned_services({"services": {"a": {}}}, "ob")
    assert found == SwarmService("", "ob_a", "ob", replicas=1, endpoint_mode="vip", update_order="stop-first")
    assert planned_services({}, "ob") == ()


def test_values_that_a_document_has() -> None:
    deploy = {"mode": "replicated", "replicas": "3", "endpoint_mode": "dnsrr"}
    (found,) = planned_services({"services": {"a": {"image": "a:1", "environment": None, "deploy": deploy}}}, "ob")
    assert (found.replicas, found.endpoint_mode, found.image, found.domain) == (3, "dnsrr", "a:1", "")


@pytest.mark.parametrize(
    ("entry", "ports"),
    [
        ({"target": 80}, []),
        ({"target": 80, "published": 8080}, [PublishedPort(8080, 80, "tcp", "ingress")]),
        ({"target": 53, "published": "53", "protocol": "udp", "mode": "host"}, [PublishedPort(53, 53, "udp", "host")]),
        ({"target": "1-3", "published": "7-9"}, [PublishedPort(7, 1), PublishedPort(8, 2), PublishedPort(9, 3)]),
    ],
)
def test_ports_of_an_entry(entry: dict[str, Any], ports: list[PublishedPort]) -> None:
    (found,) = planned_services({"services": {"a": {"ports": [entry]}}}, "ob")
    assert list(found.ports) == ports


@pytest.mark.parametrize(
    ("entry", "volumes"),
    [
        ({"type": "volume", "source": "data", "target": "/d"}, ("data",)),
        ({"type": "volume", "target": "/d"}, ()),
        ({"type": "bind", "source": "/data", "target": "/d"}, ()),
        ({"type": "tmpfs", "source": "x", "target": "/d"}, ()),
        ({"type": "a", "source": "x", "target": "/d"}, ()),
        ({"type": "zfs", "source": "x", "target": "/d"}, ()),
        ("data:/d", ("data",)),
        ("data:/d:ro", ("data",)),
        ("/d", ()),
        ("anonymous", ()),
        ("/data:/d", ()),
        ("./data:/d", ()),
        ("~/data:/d", ()),
    ],
)
def test_the_volume_of_an_entry(entry: object, volumes: tuple[str, ...]) -> None:
    (found,) = planned_services({"services": {"a": {"volumes": [entry]}}}, "ob")
    assert found.volumes == volumes


def test_volumes_with_a_label_are_those_with_data() -> None:
    constraints = (
        "node.role == manager",
        "node.labels.openbalena.data.a == true",
        "node.labels.openbalena.ingress == 1",
    )
    pinned = service("x", constraints=(*constraints, "node.labels.openbalena.data.b == true"))
    assert pinned_volumes(pinned) == ("a", "b")


def test_only_services_with_data_need_a_question_before_they_go() -> None:
    pinned = service("db", constraints=("node.labels.openbalena.data.db-data == true",))
    there = cluster([pinned, service("api"), service("remote")], [])
    assert services_to_prune(planned_services({"services": {"remote": {}}}, "ob"), there) == [pinned]
    assert services_to_prune(planned_services(DOCUMENT, "ob"), there) == []


def rendered(directory: Path, secret: bytes) -> dict[str, Any]:
    (directory / "secrets").mkdir(exist_ok=True)
    (directory / "secrets" / "api.env").write_bytes(secret)
    return {"secrets": {"api-env": {"name": "${API_ENV_SECRET:-openbalena_api-env}", "file": "./secrets/api.env"}}}


def test_a_name_says_what_is_in_the_secret(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"A=1\n").hexdigest()[:12]
    assert object_names.versioned_name(rendered(tmp_path, b"A=1\n"), tmp_path, "ob") == {
        "API_ENV_SECRET": f"ob_api-env-{digest}"
    }


def test_another_template_driver_is_another_name(tmp_path: Path) -> None:
    document = rendered(tmp_path, b"A=1\n")
    plain = object_names.versioned_name(document, tmp_path, "ob")
    document["secrets"]["api-env"]["template_driver"] = "golang"
    assert object_names.versioned_name(document, tmp_path, "ob")["API_ENV_SECRET"] not in plain.values()


@pytest.mark.parametrize("size", [0, 500 * 1024 + 1])
def test_a_secret_that_the_engine_would_refuse(tmp_path: Path, size: int) -> None:
    with pytest.raises(OperationError, match=rf"{size} bytes; secret api-env"):
        object_names.versioned_name(rendered(tmp_path, b"x" * size), tmp_path, "ob")


@pytest.mark.parametrize(("kind", "limit"), [("secrets", 500 * 1024), ("configs", 1000 * 1024)])
def test_contents_have_the_sizes_that_the_engine_allows(tmp_path: Path, kind: str, limit: int) -> None:
    document = {kind: rendered(tmp_path, b"x")["secrets"]}
    for size in (1, limit):
        (tmp_path / "secrets" / "api.env").write_bytes(b"x" * size)
        assert list(object_names.versioned_name(document, tmp_path, "ob")) == ["API_ENV_SECRET"]
    for size in (0, limit + 1):
        (tmp_path / "secrets" / "api.env").write_bytes(b"x" * size)
        with pytest.raises(OperationError, match=f"{size} bytes; {kind[:-1]} api-env must have 1 to {limit} "):
            object_names.versioned_name(document, tmp_path, "ob")
    (tmp_path / "secrets" / "api.env").unlink()
    with pytest.raises(OperationError, match=f"No such file or directory: expected the content of {kind[:-1]} api-env"):
        object_names.versioned_name(document, tmp_path, "ob")


def test_only_objects_with_a_file_and_a_variable_are_named(tmp_path: Path) -> None:
    """Whatever stands in front of them."""
    ours = rendered(tmp_path, b"x")["secrets"]["api-env"]
    others = {
        "a-external": {"external": True, "name": "${A}"},
        "a-fixed": {"name": "fixed", "file": "./secrets/absent"},
        "a-unnamed": {"file": "./secrets/absent"},
    }
    document = {"secrets": {**others, "b": ours}, "configs": {**others, "c": {**ours, "name": "${C}"}}}
    found = object_names.versioned_name(document, tmp_path, "ob")
    assert {name: value.rpartition("-")[0] for name, value in found.items()} == {"API_ENV_SECRET": "ob_b", "C": "ob_c"}
    assert object_names.versioned_name({"secrets": None}, tmp_path, "ob") == {}


@pytest.mark.parametrize(
    "name", ["ob_a-0123456789a", "ob_a-0123456789abc", "ob_a-0123456789AB", "a-0123456789ab", "ob_a"]
)
def test_other_names_have_no_key(name: str) -> None:
    assert object_key(name, "ob") == ""
    assert list(object_names.unused_objects({"1": name, "2": "ob_a-0123456789ab"}, "ob", set())) == ["2"]


def test_external_secrets_keep_their_names(tmp_path: Path) -> None:
    assert object_names.versioned_name({"secrets": {"x": {"external": True, "name": "x"}}}, tmp_path, "ob") == {}


@pytest.mark.parametrize("key", ["api-env", "ca-0123456789ab"])
def test_the_key_is_read_back_from_a_name(key: str) -> None:
    name = object_name("ob", key, b"x")
    assert object_key(name, "ob") == key
    assert object_key(name, "other") == ""


def test_a_version_is_found_by_its_whole_key() -> None:
    longer, exact = object_name("ob", "ca-bundle", b"x"), object_name("ob", "ca", b"x")
    api = service("api", configs=(longer, exact))
    assert object_names.used_version(api, "ca") == exact
    assert object_names.used_version(api, "ca-key") == ""


NAMES = [f"ob_{key}{end}" for key in ("a", "b", "a-b") for end in ("", "-0123456789ab", "-ba9876543210")]


@given(st.sets(st.sampled_from(NAMES), max_size=6), st.data())
def test_what_is_used_or_not_ours_is_never_removed(existing: set[str], data: st.DataObject) -> None:
    used = data.draw(st.sets(st.sampled_from(sorted(existing)))) if existing else set()
    listed = {str(number): name for number, name in enumerate(sorted(existing | {"other_x-0123456789ab"}))}
    gone = {listed[identifier] for identifier in object_names.unused_objects(listed, "ob", used)}
    assert not gone & used and "other_x-0123456789ab" not in gone
    assert all(name[-12:].strip("0123456789abcdef") == "" for name in gone)


VALUE = st.text(alphabet=string.ascii_letters + string.digits + "'\"$ \\`!#=&|;", min_size=1, max_size=20)


@given(VALUE)
def test_deploy_env_is_read_as_a_shell_would(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    import shlex

    directory = tmp_path_factory.mktemp("rendered")
    (directory / "stack.yml").write_text("services: {}\n")
    (directory / "deploy.env").write_text(f"A={shlex.quote(value)}\n")
    assert deploy.deploy_environment(directory, "ob") == {"A": value}


def test_single_points_of_failure() -> None:
    db, api = service("db"), service("api", replicas=2)
    there = cluster([api, db], [task(1, "db")], 3)
    assert [(point.what, point.where) for point in find_single_points(there)] == [("service db", "node1")]
    assert "backup" in find_single_points(there)[0].recovery


@pytest.mark.parametrize(("managers", "found"), [(1, True), (2, True), (3, False), (4, False), (5, False)])
def test_the_loss_of_one_manager(managers: int, found: bool) -> None:
    assert any("manager" in point.what for point in find_single_points(cluster([], [], managers))) is found
