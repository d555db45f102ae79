"""Encrypted overlay networks: what is kept, which nodes are tried, and what their answers mean."""

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cluster_builders import cluster, node, service, task
from fake_engine import FakeEngine
from fake_swarm import Row

from openbalena.stack import with_encryption
from openbalena.swarm import encryption
from openbalena.swarm.job import JobResult

PLAIN, ENCRYPTED = {"ob_default": False}, {"ob_default": True}
MIXED = {"ob_default": False, "ob_own": True}


@pytest.mark.parametrize(
    ("networks", "setting", "deployed", "kept"),
    [
        ({}, "true", "", ""),
        ({}, "false", "", ""),
        (PLAIN, "false", "false", ""),
        (ENCRYPTED, "true", "true", ""),
        (PLAIN, "true", "false", "SWARM_ENCRYPTED is true, but these overlay networks of the running deployment "
         "are unencrypted: ob_default."),
        (ENCRYPTED, "false", "true", "SWARM_ENCRYPTED is false, but these overlay networks of the running deployment "
         "are encrypted: ob_default."),
        # What is added beside a plain network asks no more of the nodes than that one.
        (MIXED, "true", "false", "are unencrypted: ob_default."),
    ],
)  # fmt: skip
def test_a_running_deployment_keeps_what_it_has(
    networks: dict[str, bool], setting: str, deployed: str, kept: str
) -> None:
    assert encryption.running(networks) == deployed
    said = encryption.unencrypted_networks_warning(networks, setting)
    assert kept in said and bool(kept) == bool(said)
    assert not said or "swarm-down, which keeps the volumes, and then swarm-up" in said


@pytest.mark.parametrize(
    ("networks", "setting", "tried"),
    [
        ({}, "true", ["node1", "node2", "node3"]),
        ({}, "false", []),
        (PLAIN, "false", []),
        # node1 has a task of the stack, which runs; node3 joined later.
        (ENCRYPTED, "true", ["node2", "node3"]),
    ],
)
def test_which_nodes_are_tried(networks: dict[str, bool], setting: str, tried: list[str]) -> None:
    found = cluster([service()], [task(1), task(2, node_id="n2", state="pending")], networks=networks)
    assert [each.hostname for each in encryption.nodes_to_check(found, setting, [service()])] == tried


def test_a_node_that_no_service_may_use_is_not_tried() -> None:
    found = cluster([], [])
    bound = [service(constraints=("node.hostname == node2",)), service("db", constraints=("node.labels.x == y",))]
    assert [each.hostname for each in encryption.nodes_to_check(found, "true", bound)] == ["node2"]


@pytest.mark.parametrize(
    ("outcome", "fatal", "words"),
    [
        (JobResult(False, ("Error: Requested AEAD algorithm not found.",), "task: non-zero exit (3)", 3), True,
         "node1 has no ESP (IPsec) with AES-GCM in its kernel (Error: Requested AEAD algorithm not found.)"),
        (JobResult(False, (), "task: non-zero exit (4)", 4), True, "could not be checked: vpn:1 has no `ip` command"),
        (JobResult(False, ("RTNETLINK answers: Operation not permitted",), "", 5), True, "not be checked: RTNETLINK"),
        (JobResult(False, (), "could not install mangle rule: no such match", started=False), True,
         "could not be checked: could not install mangle rule: no such match (Docker needs the iptables matches"),
        (JobResult(False, (), "the task did not end within 600 s"), True, "could not be checked"),
        (None, False, "could not be checked: it is ready, drain"),
    ],
)  # fmt: skip
def test_what_a_node_that_cannot_or_does_not_say_means(outcome: JobResult | None, fatal: bool, words: str) -> None:
    (found,) = encryption.encryption_findings(node(1, availability="drain"), outcome, "vpn:1")
    assert found.fatal is fatal and words in str(found), found
    assert not fatal or "SWARM_ENCRYPTED=false" in str(found)


@pytest.mark.parametrize(
    ("code", "cause"), [(1, "modprobe"), (2, "modprobe"), (3, "has no ESP"), (4, "no `ip` command"), (5, "modprobe")]
)
def test_the_exit_code_of_the_script_is_the_cause(code: int, cause: str) -> None:
    (found,) = encryption.encryption_findings(node(1), JobResult(False, ("x",), "", code), "vpn:1")
    assert cause in str(found) and ("has no ESP" in str(found)) is (code == 3)
    assert ("no `ip` command" in str(found)) is (code == 4)


@pytest.mark.parametrize("setting", ["", "false", "no", "yes", "true"])
def test_only_true_encrypts(setting: str) -> None:
    encrypts = setting == "true"
    assert bool(encryption.nodes_to_check(cluster([], []), setting, [service()])) is encrypts
    said = [bool(encryption.unencrypted_networks_warning(networks, setting)) for networks in (PLAIN, ENCRYPTED)]
    assert said == [encrypts, not encrypts]
    assert ("set SWARM_ENCRYPTED=true and run" in encryption.described(PLAIN, setting)[0]) is not encrypts


def test_encrypted_networks_are_listed_apart() -> None:
    networks = {"ob_a": True, "ob_b": False, "ob_c": True, "ob_d": False}
    encrypted, plain = encryption.described(networks, "true")
    assert encrypted == "Overlay networks, encrypted between nodes: ob_a, ob_c"
    assert plain.startswith("Overlay networks, not encrypted between nodes: ob_b, ob_d (to encrypt them, ./open-balena")
    assert "SWARM_ENCRYPTED=true" not in plain
    assert encryption.running({"ob_a": True, "ob_c": True}) == "true" and encryption.running(networks) == "false"
    assert "are unencrypted: ob_b, ob_d." in encryption.unencrypted_networks_warning(networks, "true")
    assert "are encrypted: ob_a, ob_c." in encryption.unencrypted_networks_warning(networks, "false")


@pytest.mark.parametrize("state", ["starting", "preparing", "shutdown", "failed", "pending"])
def test_a_node_whose_tasks_do_not_run_is_checked(state: str) -> None:
    found = cluster([service()], [task(1, state=state)], 1, networks=ENCRYPTED)
    assert [each.id for each in encryption.nodes_to_check(found, "true", [service()])] == ["n1"]


def test_a_node_that_can_is_not_mentioned() -> None:
    assert not list(encryption.encryption_findings(node(1), JobResult(True, ()), "vpn:1"))


@pytest.mark.parametrize(
    ("version", "program", "code"),
    [
        ("iproute2-6.1.0", "true", 0),
        ("iproute2-6.1.0", "echo 'RTNETLINK answers: Protocol not supported' >&2; exit 2", 3),
        ("iproute2-6.1.0", "echo 'RTNETLINK answers: Operation not permitted' >&2; exit 2", 5),
        ("BusyBox", "echo 'Usage: ip [OPTIONS]' >&2; exit 1", 4),
        ("", "", 4),
    ],
)
def test_the_script_tells_what_the_kernel_lacks_from_what_could_not_be_asked(
    version: str, program: str, code: int, tmp_path: Path
) -> None:
    if program:
        answer = f"if [ $1 = -Version ]; then echo ip utility, {version}; exit; fi"
        (tmp_path / "ip").write_text(f"#!/bin/sh\n{answer}\n{program}\n")
        (tmp_path / "ip").chmod(0o755)
    script = encryption.check_script("")
    done = subprocess.run(["/bin/sh", "-c", script], env={"PATH": str(tmp_path)}, capture_output=True)
    assert done.returncode == code, done


@pytest.mark.parametrize("address", ["10.9.0.1", "fd00::1"])
def test_the_script_passes_the_whole_command_to_ip(address: str, tmp_path: Path) -> None:
    program = f"[ $1 != -Version ] || {{ echo iproute2; exit; }}; printf '%s\\n' \"$@\" >{tmp_path}/arguments"
    (tmp_path / "ip").write_text(f"#!/bin/sh\n{program}\n")
    (tmp_path / "ip").chmod(0o755)
    subprocess.run(["/bin/sh", "-c", encryption.check_script(address)], env={"PATH": str(tmp_path)}, check=True)
    assert ["ip", *(tmp_path / "arguments").read_text().splitlines()] == encryption.state_command(address)


def test_the_network_of_the_check_is_encrypted_and_replaces_one_that_was_left(fake: FakeEngine) -> None:
    """The nodes are checked at once, each with its own command, and in their order."""
    for name in ("node1", "node2"):
        fake.swarm.node(name, "manager")
    fake.swarm.create_network({"Name": "openbalena-encryption", "Driver": "overlay"})
    left = set(fake.swarm.networks)
    fake.swarm.fates["openbalena-encryption-id-node1"] = [[Row(0, "failed", "task: non-zero exit (4)", 4)]]
    fake.swarm.fates["openbalena-encryption-id-node2"] = [[Row(0, "failed", "task: non-zero exit (3)", 3)]]
    seen: list[dict[str, Any]] = []

    def lines(_: dict[str, Any]) -> list[str]:
        seen.extend(item for item in fake.swarm.networks.values() if item["Name"] == "openbalena-encryption")
        return ["openbalena-job-end"]

    fake.swarm.logs["openbalena-encryption"] = lines
    machines = [
        replace(node(number), id=f"id-node{number}", address=address)
        for number, address in enumerate(("10.9.0.1", "fd00::2"), 1)
    ]
    with fake.engine.client() as client:
        found = encryption.check_encryption(fake.engine, client, machines, [service(image="a:1")], print)
    assert ["no `ip` command" in str(found[0]), "has no ESP" in str(found[1])] == [True, True]
    assert seen[0]["Options"] == {"encrypted": ""} and seen[0]["Labels"] == {"openbalena.job": "encryption"}
    assert seen[0]["Id"] not in left and len(fake.swarm.networks) == 3
    scripts = [spec["TaskTemplate"]["ContainerSpec"]["Args"][1] for spec in fake.swarm.created]
    assert ["192.0.2.1" in script for script in scripts] == [True, False]


OPTIONS = {"driver_opts": {"encrypted": "true"}}


@pytest.mark.parametrize(
    ("networks", "expected"),
    [
        (None, {"default": OPTIONS}),
        ({"default": {"driver": "overlay", "attachable": True}},
         {"default": {"driver": "overlay", "attachable": True, **OPTIONS}}),
        ({"own": {"driver_opts": {"com.docker.network.driver.mtu": "1400"}}},
         {"own": {"driver_opts": {"com.docker.network.driver.mtu": "1400", "encrypted": "true"}}, "default": OPTIONS}),
        ({"theirs": {"external": True}, "wide": {"driver": "macvlan"}},
         {"theirs": {"external": True}, "wide": {"driver": "macvlan"}, "default": OPTIONS}),
    ],
)  # fmt: skip
def test_every_overlay_that_the_stack_makes_is_encrypted(
    networks: dict[str, object] | None, expected: dict[str, object]
) -> None:
    document = {"services": {"a": {"image": "a"}}, **({"networks": networks} if networks else {})}
    assert with_encryption(document)["networks"] == expected


def test_no_default_network_is_made_where_no_service_is_on_it() -> None:
    document = {"services": {"a": {"networks": {"own": None}}}, "networks": {"own": {}}}
    assert with_encryption(document)["networks"] == {"own": OPTIONS}
