"""One service gets another version of a secret or config, and is waited for."""

from typing import Any

import docker
import pytest
from cluster_builders import cluster, service
from fake_engine import FakeEngine
from fake_swarm import RefusedError, Row, stack_service

from openbalena.base.errors import OperationError
from openbalena.base.names import STACK_LABEL, object_name
from openbalena.swarm import certificate_rollout, service_update, state

OLD, NEW = b"old chain", b"new chain"


def deployed(fake: FakeEngine, client: Any) -> dict[str, Any]:
    """haproxy-certs with the old chain, a second secret and a config; the stack's service as the swarm has it."""
    fake.swarm.node("node1", "manager")
    for name, data in ((object_name("ob", "haproxy-chain", OLD), OLD), ("ob_other-0123456789ab", b"x")):
        client.secrets.create(name=name, data=data)
    client.configs.create(name=object_name("ob", "ca-issued", OLD), data=OLD)
    spec = stack_service("haproxy-certs", secrets=list(fake.swarm.secrets.values()))
    fake.swarm.create("services", spec)
    spec = stack_service("balena-ca", configs=list(fake.swarm.configs.values()))
    fake.swarm.create("services", spec)
    return fake.swarm.named("services", "ob_haproxy-certs")


def test_a_replaced_secret_is_the_new_one_by_name_and_by_id(fake: FakeEngine) -> None:
    with fake.engine.client() as client:
        raw = deployed(fake, client)
        before = [dict(item) for item in raw["Spec"]["TaskTemplate"]["ContainerSpec"]["Secrets"]]
        service = service_update.find_service(state.read_cluster(client, "ob"), "haproxy-certs")
        assert service is not None
        service_update.replace_secret(
            client, service, object_name("ob", "haproxy-chain", OLD), "ob_haproxy-chain-new", NEW
        )
    new = fake.swarm.named("secrets", "ob_haproxy-chain-new")
    assert fake.swarm.named("services", "ob_haproxy-certs")["Spec"]["TaskTemplate"]["ContainerSpec"]["Secrets"] == [
        {**before[0], "SecretID": new["ID"], "SecretName": "ob_haproxy-chain-new"},
        before[1],
    ]
    assert new["Spec"]["Labels"] == {STACK_LABEL: "ob"}


def test_only_the_item_with_the_old_name_is_replaced(fake: FakeEngine) -> None:
    """Not those before or behind it, and by the object with the whole new name."""
    with fake.engine.client() as client:
        fake.swarm.node("node1", "manager")
        for name in ("ob_a-1", "ob_b-1", "ob_c-1", "ob_b-2-mine", "ob_b-2"):
            client.secrets.create(name=name, data=b"x")
        spec = stack_service("api", secrets=[fake.swarm.named("secrets", f"ob_{name}-1") for name in ("a", "b", "c")])
        fake.swarm.create("services", spec)
        service = service_update.find_service(state.read_cluster(client, "ob"), "api")
        assert service is not None
        service_update.replace_secret(client, service, "ob_b-1", "ob_b-2", b"y")
    items = fake.swarm.named("services", "ob_api")["Spec"]["TaskTemplate"]["ContainerSpec"]["Secrets"]
    assert [item["SecretName"] for item in items] == ["ob_a-1", "ob_b-2", "ob_c-1"]
    assert items[1]["SecretID"] == fake.swarm.named("secrets", "ob_b-2")["ID"] and len(fake.swarm.secrets) == 5


def test_a_service_is_found_by_its_whole_name() -> None:
    there = cluster([service("api"), service("api-2"), service("b")], [])
    found = [service_update.find_service(there, name) for name in ("a", "api", "api-2", "ap", "c")]
    assert [each and each.short_name for each in found] == [None, "api", "api-2", None, None]


def test_everything_else_of_a_definition_is_kept(fake: FakeEngine) -> None:
    with fake.engine.client() as client:
        fake.swarm.node("node1", "manager")
        client.configs.create(name="ob_a-1", data=b"x")
        spec = stack_service("api", configs=list(fake.swarm.configs.values()), replicas=2, ports=[80])
        spec |= {"UpdateConfig": {"Order": "start-first"}, "RollbackConfig": {"Parallelism": 1}}
        fake.swarm.create("services", spec)
        before = fake.swarm.named("services", "ob_api")["Spec"]
        service = service_update.find_service(state.read_cluster(client, "ob"), "api")
        assert service is not None
        service_update.replace_secret(client, service, "ob_a-1", "ob_a-2", b"y")
    after = fake.swarm.named("services", "ob_api")["Spec"]
    (config,) = after["TaskTemplate"]["ContainerSpec"]["Configs"]
    assert config["ConfigID"] == fake.swarm.named("configs", "ob_a-2")["ID"]
    after["TaskTemplate"]["ContainerSpec"]["Configs"] = before["TaskTemplate"]["ContainerSpec"]["Configs"]
    assert after == before


def test_a_change_by_somebody_else_in_between_is_read_and_kept(fake: FakeEngine) -> None:
    with fake.engine.client() as client:
        deployed(fake, client)
        service = service_update.find_service(state.read_cluster(client, "ob"), "haproxy-certs")
        assert service is not None
        stale = RefusedError(500, "rpc error: code = Unknown desc = update out of sequence")
        fake.swarm.refusals = [("POST", f"/services/{service.id}/update", stale)] * 4
        service_update.replace_secret(
            client, service, object_name("ob", "haproxy-chain", OLD), "ob_haproxy-chain-new", NEW
        )
        service = service_update.find_service(state.read_cluster(client, "ob"), "haproxy-certs")
        assert service is not None
        fake.swarm.refusals = [("POST", f"/services/{service.id}/update", stale)] * 5
        with pytest.raises(docker.errors.APIError, match="out of sequence"):
            service_update.replace_secret(client, service, "ob_haproxy-chain-new", "ob_haproxy-chain-newer", NEW)


def test_a_chain_that_is_there_already_changes_nothing(fake: FakeEngine) -> None:
    with fake.engine.client() as client:
        deployed(fake, client)
        before = list(fake.swarm.asked)
        assert not certificate_rollout.publish_certificate(client, "ob", OLD)
        assert not certificate_rollout.announce_certificate(client, "ob", OLD)
        assert fake.swarm.asked == before
        assert certificate_rollout.publish_certificate(client, "ob", NEW)
        assert certificate_rollout.announce_certificate(client, "ob", NEW)
        assert not certificate_rollout.publish_certificate(client, "ob", NEW)
    (secret, _) = fake.swarm.named("services", "ob_haproxy-certs")["Spec"]["TaskTemplate"]["ContainerSpec"]["Secrets"]
    assert secret["SecretName"] == object_name("ob", "haproxy-chain", NEW)


def test_a_stack_that_does_not_run_gets_no_chain(fake: FakeEngine) -> None:
    fake.swarm.node("node1", "manager")
    with fake.engine.client() as client:
        with pytest.raises(OperationError, match="is not running here"):
            certificate_rollout.publish_certificate(client, "ob", NEW)
        with pytest.raises(OperationError, match="has no config ca-issued"):
            certificate_rollout.announce_certificate(client, "ob", NEW)
    assert not fake.swarm.secrets and not fake.swarm.configs


def test_an_authority_without_the_config_is_refused(fake: FakeEngine) -> None:
    fake.swarm.node("node1", "manager")
    fake.swarm.create("services", stack_service("balena-ca"))
    with fake.engine.client() as client, pytest.raises(OperationError, match="has no config ca-issued"):
        certificate_rollout.announce_certificate(client, "ob", NEW)


def test_a_service_is_waited_for_until_it_runs(fake: FakeEngine) -> None:
    fake.swarm.node("node1", "manager")
    fake.swarm.fates["ob_api"] = [[Row(0, "preparing"), Row(20, "starting"), Row(45, "running")]]
    fake.swarm.create("services", stack_service("api"))
    seen = []
    with fake.engine.client() as client:
        began = fake.swarm.clock.now
        service_update.wait_until_converged(client, "ob", "api", 60, lambda progress: seen.append(progress[0].detail))
    assert fake.swarm.clock.now - began == 45
    assert list(dict.fromkeys(seen)) == ["preparing", "starting", ""]


def test_a_service_that_does_not_run_in_time_is_an_error(fake: FakeEngine) -> None:
    fake.swarm.node("node1", "manager")
    fake.swarm.fates["ob_api"] = [[Row(0, "starting")]]
    fake.swarm.create("services", stack_service("api"))
    began = fake.swarm.clock.now
    with fake.engine.client() as client:
        with pytest.raises(OperationError, match="0 of 1 tasks"):
            service_update.wait_until_converged(client, "ob", "api", 10)
        assert fake.swarm.clock.now - began == 10
        with pytest.raises(OperationError, match="removed during the update"):
            service_update.wait_until_converged(client, "ob", "db", 10)


def test_a_rolled_back_service_is_an_error_at_once(fake: FakeEngine) -> None:
    fake.swarm.node("node1", "manager")
    fake.swarm.create("services", stack_service("api"))
    fake.swarm.named("services", "ob_api")["UpdateStatus"] = {"State": "rollback_completed", "Message": "task failed"}
    began = fake.swarm.clock.now
    with fake.engine.client() as client, pytest.raises(OperationError, match="rolled back: task failed"):
        service_update.wait_until_converged(client, "ob", "api", 10)
    assert fake.swarm.clock.now == began
