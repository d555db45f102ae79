"""Properties of compiling: of any document, and of any choice of valid keys."""

from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openbalena import compose, stack
from openbalena.base.errors import UsageError
from openbalena.compose.normal.service import KEYS

VALID: dict[str, list[Any]] = {
    "command": ["run it", ["sh", "-c", "echo $$A"]],
    "entrypoint": ["/bin/x"],
    "environment": [["A=1", "B"], {"A": 1, "B": None, "C": "a: b # c", "D": "no"}],
    "labels": [["a=b"], {"a": "1"}],
    "restart": ["no", "always", "on-failure:5"],
    "ports": [["80"], ["8080-8081:80-81"], [{"target": 80, "published": "80", "mode": "host"}]],
    "volumes": [["v:/v"], ["/a:/b:ro"], [{"type": "tmpfs", "target": "/t", "tmpfs": {"size": "1m"}}]],
    "tmpfs": ["/t1", ["/t1:size=1m"]],
    "shm_size": ["64m"],
    "devices": [["/dev/net/tun"]],
    "cap_add": [["NET_ADMIN"]],
    "deploy": [{"replicas": 2}, {"mode": "global"}, {"resources": {"limits": {"cpus": 0.5, "memory": "1g"}}}],
    # What deploy has as well is the same there.
    "mem_limit": ["1g", "1024m", 2**30],
    "cpus": [0.5, "0.50"],
    "healthcheck": [{"test": "x", "interval": "5s", "start_interval": "1s"}, {"disable": True}],
    "networks": [["n"], {"n": {"aliases": ["x"]}}],
    "secrets": [["s"], [{"source": "s", "target": "/s", "mode": 0o400}]],
    "configs": [["c"]],
    "depends_on": [["b"], {"b": {"condition": "service_healthy"}}],
    "init": [True],
    "ulimits": [{"nofile": 5, "core": {"soft": 1, "hard": 2}}],
    "sysctls": [["a=1"]],
    "extra_hosts": [["h:1.2.3.4"]],
    "logging": [{"driver": "json-file", "options": {"max-size": "1m"}}],
    "stop_grace_period": ["1m30s"],
    "platform": ["linux/amd64"],
}
TOP = {
    "networks": {"n": {"driver": "bridge"}},
    "volumes": {"v": {}},
    "secrets": {"s": {"file": "./s"}},
    "configs": {"c": {"content": "x"}},
}
SERVICES = st.fixed_dictionaries({}, optional={key: st.sampled_from(values) for key, values in VALID.items()})
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["${A}", "5:5"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
KEEP = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)


@KEEP
@given(services=st.lists(SERVICES, min_size=1, max_size=3))
def test_compiling_what_was_compiled_changes_nothing(tmp_path: Path, services: list[dict[str, Any]]) -> None:
    for service in services[1:]:
        service.pop("ports", None)  # which two services cannot publish
    named = {f"s{number}": {"image": "x:1", **service} for number, service in enumerate(services)}
    once = stack.compile(_loaded(tmp_path, {"name": "p", "services": {"b": {"image": "b:1"}, **named}, **TOP}))
    text = stack.stack_file(once)
    (tmp_path / "stack.yml").write_text(text)
    again = stack.compile(compose.load([tmp_path / "stack.yml"], environment={"COMPOSE_PROJECT_NAME": "p"}))
    assert yaml.safe_load(text)["services"] == yaml.safe_load(stack.stack_file(again))["services"]
    for section in ("networks", "volumes"):
        assert once.document.get(section) == again.document.get(section)


@KEEP
@given(
    tree=st.dictionaries(
        st.sampled_from(["services", "networks", "volumes", "secrets", "include", "x-swarm"]), ANYTHING
    )
)
def test_any_document_compiles_or_is_refused(tmp_path: Path, tree: dict[str, Any]) -> None:
    _compiles_or_is_refused(tmp_path, tree)


@KEEP
@given(service=st.dictionaries(st.sampled_from([*KEYS, "x-swarm"]), ANYTHING, max_size=4), interpolate=st.booleans())
def test_any_value_of_any_key_compiles_or_is_refused(
    tmp_path: Path, service: dict[str, Any], interpolate: bool
) -> None:
    _compiles_or_is_refused(tmp_path, {"services": {"a": {"image": "x:1", **service}}}, interpolate)


def _compiles_or_is_refused(tmp_path: Path, tree: dict[str, Any], interpolate: bool = True) -> None:
    try:
        stack.stack_file(stack.analyse(_loaded(tmp_path, tree, interpolate)))
    except UsageError as error:
        assert str(tmp_path) in str(error)  # noqa: PT017


def _loaded(directory: Path, tree: dict[str, Any], interpolate: bool = True) -> compose.Project:
    path = directory / "compose.yml"
    path.write_text(yaml.safe_dump(tree, allow_unicode=True))
    return compose.load([path], environment={"A": "v"}, profiles=["*"], interpolate=interpolate)


def test_positions_name_the_line_of_the_key(compiled: Any) -> None:
    text = "services:\n  a:\n    image: x:1\n    pid: host\n    ports:\n      - 127.0.0.1:5:5\n"
    assert {(item.rule, item.position.line) for item in compiled(text).diagnostics} == {
        ("ports.host_ip", 6),
        ("pid", 4),
    }
