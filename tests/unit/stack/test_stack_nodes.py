"""Notes about what has to be on a node, which come before those about what was only translated."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from openbalena import stack
from openbalena.stack.validate import validate

Compile = Callable[..., stack.Compiled]


def noted(compiled: Compile, service: str, rest: str = "volumes: {v: }") -> list[tuple[str, str]]:
    found = compiled(f"services:\n  s: {{image: 'x:1', {service}}}\n{rest}\n").diagnostics
    return [(item.rule, item.meaning) for item in found if item.prominent]


@pytest.mark.parametrize("mount", ["./data:/x", "/srv/data:/x:ro", "{type: bind, source: ./data, target: /x}"])
def test_a_path_of_the_node(mount: str, compiled: Compile, tmp_path: Path) -> None:
    quoted = mount if mount.startswith("{") else f"'{mount}'"
    ((rule, meaning),) = noted(compiled, f"volumes: [{quoted}]")
    path = "/srv/data" if "/srv" in mount else f"{tmp_path}/data"
    assert (rule, meaning) == (
        "volumes.bind", f"{path} must be on every node that may run a task of s: Swarm does not create it"
    )  # fmt: skip


@pytest.mark.parametrize("path", ["/var/run/docker.sock", "/sys", "/dev/net/tun", "/etc/localtime", "/", "/proc/1"])
def test_a_path_that_every_node_has(path: str, compiled: Compile) -> None:
    assert noted(compiled, f"volumes: ['{path}:/x']") == []


def test_a_volume_that_is_a_path_of_the_node(compiled: Compile, tmp_path: Path) -> None:
    volumes = "volumes: {v: {driver_opts: {type: none, o: bind, device: ./d}}}"
    ((rule, meaning),) = noted(compiled, "volumes: ['v:/v']", volumes)
    assert rule == "volumes.bind" and meaning.startswith(f"{tmp_path}/d must be on every node")


@pytest.mark.parametrize(
    ("deploy", "volume", "expected"),
    [
        ("{}", "", True),
        ("{}", "{driver: local}", True),
        ("{placement: {constraints: [node.role == manager]}}", "", True),
        ("{placement: {constraints: ['node.hostname != n1']}}", "", True),
        ("{placement: {constraints: ['node.labels.db==true']}}", "", False),
        ("{placement: {constraints: ['node.hostname == n1']}}", "", False),
        ("{mode: global}", "", False),
        ("{}", "{driver: shared}", False),
        ("{}", "{driver_opts: {type: nfs, o: addr=10.0.0.1, device: ':/x'}}", False),
        ("{}", "{external: true}", False),
    ],
)
def test_a_volume_that_differs_on_each_node(deploy: str, volume: str, expected: bool, compiled: Compile) -> None:
    found = noted(compiled, f"volumes: ['v:/v'], deploy: {deploy}", f"volumes: {{v: {volume}}}")
    assert [rule for rule, _ in found] == ["volumes.local"] * expected


def test_services_with_the_same_mount_have_one_note(compiled: Compile) -> None:
    services = "\n".join(f"  s{n}: {{image: 'x:1', volumes: ['v:/v', 'v:/w', '/srv/x:/x']}}" for n in range(5))
    found = compiled(f"services:\n{services}\nvolumes: {{v: }}\n").diagnostics
    assert [(item.position.line, item.meaning.partition("a task of ")[2][:20]) for item in found] == [
        (2, "s0, s1, s2 or 2 more"), (2, "s0, s1, s2 or 2 more")
    ]  # fmt: skip


def test_a_stateful_service_stays_where_its_volume_is(compiled: Compile) -> None:
    assert noted(compiled, "volumes: ['v:/v'], x-swarm: {stateful: [v]}") == []


@pytest.mark.parametrize(("image", "name"), [("image: 'x:1', ", "x:1"), ("", "{project}-s")])
def test_an_image_that_no_node_has(image: str, name: str, compiled: Compile, tmp_path: Path) -> None:
    found: Any = compiled(f"name: p\nservices: {{s: {{{image}build: .}}}}").diagnostics
    (note,) = [item for item in found if item.rule == "build"]
    expected = name.format(project="p")
    assert note.prominent and note.meaning == f"a cluster does not build: the image {expected} must be on every node"


def test_they_are_noted_of_a_stack_file_too(tmp_path: Path) -> None:
    (tmp_path / "stack.yml").write_text(
        "services: {s: {image: 'x:1', volumes: ['/srv/x:/x', 'vo:/v']}}\nvolumes: {vo: }\n"
    )
    found = validate([tmp_path / "stack.yml"])
    assert [(item.rule, str(item.severity)) for item in found] == [("volumes.bind", "note"), ("volumes.local", "note")]
