"""What the Engine API says becomes plain values; the samples were taken from engine 28.5.2."""

from openbalena.swarm.state import node_from, service_from, task_from

NODE = {
    "ID": "k1hh40k02w43ir51x5mqql0cp",
    "Spec": {"Labels": {"openbalena.ingress": "true"}, "Role": "manager", "Availability": "active"},
    "Description": {
        "Hostname": "node1",
        "Platform": {"Architecture": "x86_64", "OS": "linux"},
        "Resources": {"NanoCPUs": 2000000000, "MemoryBytes": 25282322432},
        "Engine": {"EngineVersion": "28.5.2+dfsg4", "Plugins": []},
    },
    "Status": {"State": "ready", "Addr": "0.0.0.0"},
    "ManagerStatus": {"Leader": True, "Reachability": "reachable", "Addr": "198.18.1.11:2377"},
}
SERVICE = {
    "ID": "abc",
    "Spec": {
        "Name": "small_front",
        "Labels": {"com.docker.stack.namespace": "small"},
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": "x:c-1",
                "Env": ["A_TLD=x", "TLD=small.example.com"],
                "Mounts": [
                    {"Type": "volume", "Source": "small_data", "Target": "/d"},
                    {"Type": "bind", "Source": "/x", "Target": "/x"},
                ],
                "Secrets": [{"SecretName": "small_web-env-123456789012"}],
            },
            "Placement": {"Constraints": ["node.labels.openbalena.ingress == true"]},
            "ForceUpdate": 0,
        },
        "Mode": {"Global": {}},
        "EndpointSpec": {"Mode": "dnsrr", "Ports": [{"Protocol": "tcp", "TargetPort": 80, "PublishedPort": 8088,
                                                     "PublishMode": "host"}]},
    },
    "UpdateStatus": {"State": "paused", "Message": "update paused"},
}  # fmt: skip


def test_a_manager_that_says_0_0_0_0_of_itself_is_known_by_its_manager_address() -> None:
    found = node_from(NODE)
    assert (found.address, found.leader, found.usable, found.cpus) == ("198.18.1.11", True, True, 2.0)
    assert found.labels == {"openbalena.ingress": "true"}


def test_an_ipv6_manager_address_loses_its_brackets() -> None:
    manager = {**NODE["ManagerStatus"], "Addr": "[fd00::1]:2377"}  # type: ignore[dict-item]
    assert node_from({**NODE, "ManagerStatus": manager}).address == "fd00::1"


def test_a_global_service() -> None:
    found = service_from(SERVICE)
    assert found.replicas is None and found.short_name == "front"
    assert found.ports[0].published == 8088 and found.ports[0].mode == "host"
    assert found.endpoint_mode == "dnsrr" and found.domain == "small.example.com"
    assert found.volumes == ("small_data",) and found.secrets == ("small_web-env-123456789012",)
    assert (found.update_state, found.constraints) == ("paused", ("node.labels.openbalena.ingress == true",))


def test_a_service_scaled_to_nothing_has_zero_replicas() -> None:
    raw = {**SERVICE, "Spec": {**SERVICE["Spec"], "Mode": {"Replicated": {"Replicas": 0}}}}  # type: ignore[dict-item]
    assert service_from(raw).replicas == 0


def test_a_task_that_waits_for_a_node_has_failed_once_there_is_a_reason() -> None:
    waiting = {"ID": "t", "ServiceID": "s", "DesiredState": "running", "Status": {"State": "pending"}}
    assert not task_from(waiting).failed
    stuck = {**waiting, "Status": {"State": "pending", "Err": "no suitable node (insufficient resources on 3 nodes)"}}
    assert task_from(stuck).failed and task_from(stuck).wanted


def test_a_task_that_ended_without_an_error_has_failed_and_one_that_was_stopped_has_not() -> None:
    ended = {"ID": "t", "ServiceID": "s", "DesiredState": "shutdown", "Status": {"State": "complete"}}
    assert task_from(ended).failed
    assert not task_from({**ended, "Status": {"State": "shutdown"}}).failed
