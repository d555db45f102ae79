"""`stack diff`: what would change, in words. That an unchanged stack has no differences is shown on a real engine."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from openbalena.stack import diff
from openbalena.stack.service_values import KEEPS_TASKS, desired_values

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
    assert {name: list(map(str, found)) for name, found in changes.items()} == {
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
    assert "hunter" not in repr(changes)


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
    changes = diff.changed_services(document, {"web": spec}, "s", {"1": "s_default"})["web"]
    assert list(map(str, changes)) == [
        "volume options: - s_data device",
        "volume options: + s_data nocopy",
        "volume options: s_data o has another value",
        "volume options: + s_data type",
    ]


ROOT = Path(__file__).resolve().parents[3]
# One service with every key that `stack render` passes on, as `docker stack config` prints it.
EVERY_KEY: dict[str, Any] = {
    "image": "x:1@sha256:00",
    "entrypoint": ["/entry"],
    "command": ["run"],
    "user": "1000",
    "group_add": ["44"],
    "working_dir": "/w",
    "hostname": "h",
    "extra_hosts": ["a:10.0.0.1"],
    "dns": ["10.0.0.2"],
    "dns_search": ["example.com"],
    "environment": {"A": "1"},
    "labels": {"l": "1"},
    "stop_grace_period": "20s",
    "stop_signal": "SIGINT",
    "init": True,
    "stdin_open": True,
    "tty": True,
    "isolation": "process",
    "cap_add": ["NET_ADMIN"],
    "cap_drop": ["ALL"],
    "sysctls": {"net.ipv4.ip_forward": "1"},
    "ulimits": {"nofile": {"soft": 1, "hard": 2}, "nproc": 3},
    "read_only": True,
    "healthcheck": {"test": ["CMD", "c"], "interval": "1s", "timeout": "2s", "start_period": "3s", "retries": 5,
                    "start_interval": "4s"},
    "logging": {"driver": "json-file", "options": {"max-size": "1m"}},
    "volumes": [{"type": "bind", "source": "/s", "target": "/t", "read_only": True}],
    "tmpfs": ["/tmp"],
    "ports": [{"target": 80, "published": 8080, "protocol": "udp", "mode": "host"}],
    "secrets": [{"source": "s", "target": "/s", "uid": "1", "gid": "2", "mode": 256}],
    "configs": [{"source": "c", "target": "/c", "uid": "3", "gid": "4", "mode": 288}],
    "networks": {"one": {"aliases": ["other"]}},
    "deploy": {
        "replicas": 2,
        "endpoint_mode": "dnsrr",
        "labels": {"d": "1"},
        "placement": {"constraints": ["node.role == worker"], "preferences": [{"spread": "node.id"}],
                      "max_replicas_per_node": 1},
        "resources": {"limits": {"memory": "10", "cpus": "0.5", "pids": 9},
                      "reservations": {"memory": "5", "cpus": "0.1"}},
        "restart_policy": {"condition": "on-failure", "delay": "1s", "max_attempts": 2, "window": "3s"},
        "update_config": {"parallelism": 2, "delay": "1s", "failure_action": "rollback", "monitor": "2s",
                          "max_failure_ratio": 0.1, "order": "start-first"},
        "rollback_config": {"parallelism": 3, "delay": "4s", "failure_action": "continue", "monitor": "5s",
                            "max_failure_ratio": 0.2, "order": "start-first"},
    },
}  # fmt: skip


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all scalars in `value`."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(item, (*path, key))
    else:
        yield path


def changed_at(path: tuple[Any, ...]) -> dict[str, Any]:
    """EVERY_KEY with another value at `path`."""
    service = copy.deepcopy(EVERY_KEY)
    place: Any = service
    for key in path[:-1]:
        place = place[key]
    old = place[path[-1]]
    new: Any = {"true": False, "rollback": "pause", "process": "hyperv", "host": "ingress", "bind": "tmpfs"}.get(
        str(old).lower()
    )
    if new is None:
        new = old + 1 if isinstance(old, int | float) else f"1{old}" if str(old)[0].isdigit() else f"{old}x"
    place[path[-1]] = new
    return service


@pytest.mark.parametrize("path", [*leaves(EVERY_KEY)], ids=lambda path: ".".join(map(str, path)))
def test_a_change_of_any_key_is_noticed(path: tuple[Any, ...]) -> None:
    before, after = (desired_values("web", each, {}, "s") for each in (EVERY_KEY, changed_at(path)))
    assert [title for title in before if before[title] != after[title]]


def test_the_definitions_have_no_key_that_is_not_compared() -> None:
    known = {_kind(path) for path in leaves(EVERY_KEY)}
    for file in ROOT.glob("docker-stack*.yml"):
        for name, service in yaml.safe_load(file.read_text())["services"].items():
            service.pop("networks", None)
            service["deploy"].pop("mode", None)  # compared as the replicas `global`
            unknown = {_kind(path) for path in leaves(service)} - known
            assert not unknown, f"{file.name}: {name}"


def _kind(path: tuple[Any, ...]) -> tuple[Any, ...]:
    """Its path without the positions in lists and the names of variables, labels and so on."""
    named = {("environment",), ("labels",), ("sysctls",), ("deploy", "labels"), ("logging", "options")}
    return tuple(
        "*" if isinstance(key, int) or path[:place] in named else key for place, key in enumerate(path) if key != "soft"
    )


def test_which_changes_replace_tasks() -> None:
    values = desired_values("web", EVERY_KEY, {}, "s")
    assert values.keys() >= KEEPS_TASKS
    assert diff.Change("image", "").replaces_tasks and diff.Change("ports", "").replaces_tasks
    assert not diff.Change("replicas", "").replaces_tasks and not diff.Change("update order", "").replaces_tasks


def test_a_digest_that_docker_added_is_no_change() -> None:
    spec = {"Name": "s_web", "TaskTemplate": {"ContainerSpec": {"Image": "x:1@sha256:00"}}}
    for image, changed in (("x:1", False), ("x:1@sha256:00", False), ("x:2", True), ("x:1@sha256:11", True)):
        document = {"services": {"web": {"image": image, "networks": {}}}}
        found = diff.changed_services(document, {"web": spec}, "s", {})["web"]
        assert [change.title for change in found if change.title == "image"] == ["image"] * changed
