"""`stack diff`: what would change, in words. That an unchanged stack has no differences is shown on a real engine."""

from typing import Any

from openbalena.stack import diff

DOCUMENT: dict[str, Any] = {
    "services": {
        "web": {
            "image": "x:2",
            "environment": {"A": "1", "SECRET": "hunter3", "NEW": "n"},
            "deploy": {"replicas": 3, "resources": {"limits": {"memory": "1024"}}},
            "volumes": [{"type": "volume", "source": "data", "target": "/d"}],
            "ports": [{"target": 80, "published": 8080}],
            "secrets": [{"source": "key", "target": "/key"}],
            "networks": {"default": None, "data": None},
            "stop_grace_period": "1m30s",
            "cap_drop": ["ALL"],
            "cap_add": ["KILL"],
            "read_only": True,
        },
        "added": {"image": "y:1"},
    },
    "secrets": {"key": {"name": "s_key-222222222222"}},
}
SPEC: dict[str, Any] = {
    "Name": "s_web",
    "Labels": {"com.docker.stack.namespace": "s"},
    "Mode": {"Replicated": {"Replicas": 2}},
    "EndpointSpec": {"Mode": "vip", "Ports": [{"TargetPort": 80, "PublishedPort": 80, "PublishMode": "ingress"}]},
    "TaskTemplate": {
        "Networks": [{"Target": "1"}, {"Target": "2"}],
        "ContainerSpec": {
            "Image": "x:1@sha256:00",
            "Env": ["A=1", "SECRET=hunter2", "OLD=o"],
            "StopGracePeriod": 90_000_000_000,
            "Mounts": [{"Type": "volume", "Source": "s_data", "Target": "/d"}],
            "Secrets": [{"File": {"Name": "/key"}, "SecretName": "s_key-111111111111"}],
        },
    },
}


def test_changes_in_words_without_a_secret() -> None:
    changes = diff.changed_services(DOCUMENT, {"web": SPEC, "old": SPEC}, "s", {"1": "s_default", "2": "s_old"})
    assert changes == {
        "added": ["is new"],
        "old": ["will be removed (no longer in the stack)"],
        "web": [
            "image: x:1 → x:2",
            "environment: + NEW",
            "environment: - OLD",
            "environment: SECRET has another value",
            "replicas: 2 → 3",
            "memory limit: 0 → 1024",
            "capabilities: + CAP_KILL",
            "dropped capabilities: + ALL",
            "read-only root: False → True",
            "ports: + 8080→80/tcp (ingress)",
            "ports: - 80→80/tcp (ingress)",
            "secrets: /key s_key-111111111111 → s_key-222222222222",
            "networks: + s_data",
            "networks: - s_old",
        ],
    }
    assert "hunter" not in str(changes)


def test_changes_of_volume_options_without_their_values() -> None:
    mounts = [
        {"type": "volume", "source": "data", "target": "/d", "volume": {"nocopy": True}},
        {"type": "volume", "source": "theirs", "target": "/t"},
        {"type": "bind", "source": "/etc", "target": "/e"},
    ]
    document: dict[str, Any] = {
        "services": {"web": {"image": "x:2", "volumes": mounts, "networks": {"default": None, "outer": None}}},
        "networks": {"outer": {"external": True, "name": "host"}},
        "volumes": {
            "data": {"driver": "local", "driver_opts": {"type": "nfs", "o": "addr=two"}, "labels": {"mine": "1"}},
            "theirs": {"external": True, "driver_opts": {"o": "not ours to make"}},
        },
    }
    had = {"DriverConfig": {"Name": "local", "Options": {"device": ":/x", "o": "addr=one"}}, "Labels": {"mine": "1"}}
    spec = {
        "Name": "s_web",
        "TaskTemplate": {
            "Networks": [{"Target": "1"}, {"Target": "the host's"}],
            "ContainerSpec": {
                "Image": "x:2",
                "Mounts": [
                    {"Type": "volume", "Source": "s_data", "Target": "/d", "VolumeOptions": had},
                    {"Type": "volume", "Source": "theirs", "Target": "/t", "VolumeOptions": {}},
                    {"Type": "bind", "Source": "/etc", "Target": "/e"},
                ],
            },
        },
    }
    assert diff.changed_services(document, {"web": spec}, "s", {"1": "s_default"})["web"] == [
        "volume options: - s_data device",
        "volume options: + s_data nocopy",
        "volume options: s_data o has another value",
        "volume options: + s_data type",
    ]
