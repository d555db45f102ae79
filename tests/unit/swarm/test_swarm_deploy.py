"""What a deploy leaves behind is removed once nothing may be started from it any more."""

from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine
from fake_swarm import RefusedError, stack_service

from openbalena.base.errors import OperationError
from openbalena.swarm import deploy

FIRST, SECOND = "ob_api-env-000000000001", "ob_api-env-000000000002"


def updated(fake: FakeEngine, client: Any, kind: str) -> dict[str, Any]:
    """A service that got the second version in the place of the first."""
    fake.swarm.node("node1", "manager")
    collection = getattr(client, kind)
    for name in (FIRST, SECOND):
        collection.create(name=name, data=b"x")
    first, second = (fake.swarm.named(kind, name) for name in (FIRST, SECOND))
    made = fake.swarm.create("services", stack_service("api", **dict[str, Any]({kind: [first]})))
    service = fake.swarm.services[made]
    fake.swarm.update(
        "services", made, service["Version"]["Index"], stack_service("api", **dict[str, Any]({kind: [second]}))
    )
    return service


@pytest.mark.parametrize("kind", ["secrets", "configs"])
@pytest.mark.parametrize(
    ("state", "gone"),
    [
        ("", []),
        ("updating", []),
        ("paused", []),
        ("rollback_started", []),
        ("rollback_paused", []),
        ("completed", [FIRST]),
        ("rollback_completed", [FIRST]),
    ],
)
def test_the_version_before_is_kept_as_long_as_an_update_may_go_back_to_it(
    fake: FakeEngine, kind: str, state: str, gone: list[str]
) -> None:
    with fake.engine.client() as client:
        service = updated(fake, client, kind)
        if state:
            service["UpdateStatus"] = {"State": state}
        assert deploy.remove_unused(client, "ob") == gone
    names = {item["Spec"]["Name"] for item in getattr(fake.swarm, kind).values()}
    assert names == {FIRST, SECOND} - set(gone)


def test_only_old_versions_of_this_stack_are_removed(fake: FakeEngine) -> None:
    kept = {"other_api-env-000000000001", "ob_mine", "openbalena-volumes-ob"}
    with fake.engine.client() as client:
        for name in (*kept, "ob_a-0123456789ab"):
            client.configs.create(name=name, data=b"x")
        labels = {"openbalena.settings.ca": "x", "openbalena.settings.stack": "ob", "openbalena.settings.order": "2"}
        client.secrets.create(name="ob_settings-000000000002", data=b"x", labels=labels)
        labels["openbalena.settings.order"] = "1"
        client.secrets.create(name="ob_settings-000000000001", data=b"x", labels=labels)
        assert deploy.remove_unused(client, "ob") == ["ob_settings-000000000001", "ob_a-0123456789ab"]
    assert {item["Spec"]["Name"] for item in fake.swarm.configs.values()} == kept


def test_submitted_values_reach_the_swarm(fake: FakeEngine, tmp_path: Any) -> None:
    fake.swarm.node("node1", "manager")
    (tmp_path / "stack.yml").write_text(
        "version: '3.8'\n"
        "services:\n"
        "  api: {image: 'a:${TAG}', networks: [one]}\n"
        "  db: {image: 'b:1', networks: [one]}\n"
        "networks: {one: {driver: overlay}}\n"
    )
    (tmp_path / "deploy.env").write_text("TAG='1 2'\n".replace(" 2", ""))
    deploy.submit_stack(fake.engine, tmp_path, "ob", resolve=False, only={"db"})
    assert [s["Spec"]["Name"] for s in fake.swarm.services.values()] == ["ob_db"]
    assert not (tmp_path / "part.yml").exists()
    deploy.submit_stack(fake.engine, tmp_path, "ob", resolve=False)
    api = fake.swarm.named("services", "ob_api")
    assert api["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"] == "a:1"
    (tmp_path / "stack.yml").write_text("version: '3.8'\nservices:\n  api: {image: 'a:${TAG}'}\n")
    deploy.submit_stack(fake.engine, tmp_path, "ob", resolve=False)
    assert [s["Spec"]["Name"] for s in fake.swarm.services.values()] == ["ob_api"]


def test_a_part_of_a_stack_leaves_no_file_behind_if_docker_refuses_it(fake: FakeEngine, tmp_path: Path) -> None:
    fake.swarm.node("node1", "manager")
    (tmp_path / "stack.yml").write_text("version: '3.8'\nservices: {a: {image: 'a:1'}, b: {image: 'b:1'}}\n")
    for only, left in ((("b",), ["stack.yml"]), ((), ["stack.yml"])):
        fake.swarm.refusals = [("POST", "/services/create", RefusedError(400, "no such thing"))]
        with pytest.raises(OperationError, match="no such thing"):
            deploy.submit_stack(fake.engine, tmp_path, "ob", resolve=False, only=only)
        assert [path.name for path in tmp_path.iterdir()] == left


def test_what_services_of_other_stacks_use_is_kept(fake: FakeEngine) -> None:
    """Whether it is a secret or a config, and without stored settings."""
    fake.swarm.node("node1", "manager")
    with fake.engine.client() as client:
        for kind in ("secrets", "configs"):
            for number in (1, 2, 3):
                getattr(client, kind).create(name=f"ob_{kind}-00000000000{number}", data=b"x")
        used = {kind: [fake.swarm.named(kind, f"ob_{kind}-000000000001")] for kind in ("secrets", "configs")}
        fake.swarm.create("services", stack_service("api", "other", **dict[str, Any](used)))
        fake.swarm.create("services", stack_service("plain"))
        assert deploy.remove_unused(client, "ob") == [
            f"ob_{kind}-00000000000{number}" for kind in ("secrets", "configs") for number in (2, 3)
        ]
        assert deploy.remove_unused(client, "ob") == []
