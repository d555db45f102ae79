"""Each rule: what becomes of a key, and what is said of it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from openbalena import compose, stack
from openbalena.base import placeholder
from openbalena.compose.normal.service import KEYS
from openbalena.stack.rules import RULES


def service(compiled: Any, text: str, more: str = "", **options: Any) -> dict[str, Any]:
    """The service `a` with `text`, compiled, without its image."""
    result = compiled(f"services:\n  a: {{image: 'x:1', {text}}}\n{more}", **options)
    errors = [str(item) for item in result.diagnostics if item.severity is stack.Severity.ERROR]
    assert not errors
    return {key: value for key, value in result.document["services"]["a"].items() if key != "image"}


def said(compiled: Any, text: str, more: str = "") -> list[tuple[str, str]]:
    """Severity and rule of everything that is said about the service `a`."""
    image = "" if "image" in text else "image: 'x:1', "
    result = compiled(f"services:\n  a: {{{image}{text}}}\n{more}")
    return [(str(item.severity), item.rule) for item in result.diagnostics]


def deployed_cases() -> list[dict[str, Any]]:
    """The cases that are deployed on a real swarm."""
    text = (Path(__file__).resolve().parents[2] / "cluster" / "stack_cases.yml").read_text()
    found: list[dict[str, Any]] = yaml.safe_load(text)
    return found


@pytest.mark.parametrize("case", deployed_cases(), ids=lambda case: str(case["name"]))
def test_what_is_deployed_on_a_real_swarm_compiles(case: dict[str, Any], tmp_path: Path) -> None:
    for file, text in case.get("files", {}).items():
        (tmp_path / file).write_text(text)
    source = tmp_path / "compose.yml"
    source.write_text(yaml.safe_dump({"services": case["services"], **case.get("top", {})}))
    environment = case.get("environment", {})
    project = compose.load([source], environment=environment, profiles=case.get("profiles", ()))
    stack.compile(project)


def test_every_key_of_the_specification_has_a_rule() -> None:
    read_by_the_loader = {"extends", "env_file", "label_file"}
    assert set(KEYS) - set(RULES) - read_by_the_loader == set()
    assert all(rule.meaning for rule in RULES.values())


@pytest.mark.parametrize(
    ("restart", "policy"),
    [
        ("'no'", {"condition": "none"}),
        ("always", {"condition": "any"}),
        ("unless-stopped", {"condition": "any"}),
        ("on-failure", {"condition": "on-failure"}),
        ("on-failure:3", {"condition": "on-failure", "max_attempts": 3}),
    ],
)
def test_restart(compiled: Any, restart: str, policy: dict[str, Any]) -> None:
    assert service(compiled, f"restart: {restart}") == {"deploy": {"restart_policy": policy}}


def test_a_restart_policy_of_deploy_wins(compiled: Any) -> None:
    written = "restart: always, deploy: {restart_policy: {condition: none}}"
    assert service(compiled, written) == {"deploy": {"restart_policy": {"condition": "none"}}}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("mem_limit: 1g, mem_reservation: 5m", {"limits": {"memory": "1g"}, "reservations": {"memory": "5m"}}),
        ("cpus: 0.5", {"limits": {"cpus": "0.5"}}),
        ("pids_limit: 7", {"limits": {"pids": 7}}),
    ],
)
def test_resources(compiled: Any, text: str, result: dict[str, Any]) -> None:
    assert service(compiled, text) == {"deploy": {"resources": result}}


@pytest.mark.parametrize(
    ("text", "mounts"),
    [
        ("tmpfs: ['/t:size=64m,mode=1777', /u]",
         [{"type": "tmpfs", "target": "/t", "tmpfs": {"size": 67108864}}, {"type": "tmpfs", "target": "/u"}]),
        ("shm_size: 1m", [{"type": "tmpfs", "target": "/dev/shm", "tmpfs": {"size": 1048576}}]),
        ("devices: [/dev/net/tun, /dev/null], cap_add: [NET_ADMIN]",
         [{"type": "bind", "source": "/dev/net/tun", "target": "/dev/net/tun"}]),
        ("volumes: ['/a:/b:ro,z']", [{"type": "bind", "source": "/a", "target": "/b", "read_only": True}]),
        ("volumes: ['/a:/b:rshared']",
         [{"type": "bind", "source": "/a", "target": "/b", "bind": {"propagation": "rshared"}}]),
    ],
)  # fmt: skip
def test_mounts(compiled: Any, text: str, mounts: list[dict[str, Any]]) -> None:
    assert service(compiled, text)["volumes"] == mounts


def test_ports_are_long_numbers_with_ranges_expanded(compiled: Any) -> None:
    assert service(compiled, "ports: ['8080-8081:80-81/udp', '0.0.0.0:5:5', 6]")["ports"] == [
        {"target": 80, "published": 8080, "protocol": "udp", "mode": "ingress"},
        {"target": 81, "published": 8081, "protocol": "udp", "mode": "ingress"},
        {"target": 5, "published": 5, "protocol": "tcp", "mode": "ingress"},
        {"target": 6, "protocol": "tcp", "mode": "ingress"},
    ]


def test_platform_is_a_constraint(compiled: Any) -> None:
    assert service(compiled, "platform: linux/arm64")["deploy"]["placement"]["constraints"] == [
        "node.platform.os == linux",
        "node.platform.arch == aarch64",
    ]


def test_build_without_image_names_one(compiled: Any) -> None:
    result = compiled("name: p\nservices: {a: {build: ./x}}")
    assert result.document["services"]["a"] == {"image": "p-a"}
    assert result.builds["a"]["context"].endswith("/x")


def test_networks(compiled: Any) -> None:
    result = compiled(
        "services: {a: {image: 'x:1', networks: {n: {aliases: [b]}, e: null}}}\n"
        "networks: {n: {driver: bridge, ipam: {config: [{subnet: 10.1.0.0/16}]}}, e: {external: true, name: out}}"
    )
    assert result.document["networks"] == {
        "n": {"driver": "overlay", "ipam": {"config": [{"subnet": "10.1.0.0/16"}]}},
        "e": {"name": "out", "external": True},
    }
    assert result.document["services"]["a"]["networks"] == {"n": {"aliases": ["b"]}, "e": None}


def test_ports_next_to_network_mode_host(compiled: Any) -> None:
    result = compiled("services: {a: {image: 'x:1', network_mode: host, ports: ['80:80']}, b: {image: 'x:1'}}\n")
    assert [(item.rule, str(item.severity)) for item in result.diagnostics] == [
        ("network_mode", "error"), ("ports", "warning"),
    ]  # fmt: skip
    assert result.diagnostics[1].position.column == 50


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("privileged: true", "privileged"), ("security_opt: [a]", "security_opt"),
        ("network_mode: host", "network_mode"),
        ("ipc: host", "ipc"), ("pid: host", "pid"), ("devices: [/dev/kvm]", "devices"), ("gpus: all", "gpus"),
        ("group_add: [x]", "group_add"), ("cpu_quota: 5", "cpu_quota"), ("domainname: x", "domainname"),
        ("ports: ['127.0.0.1:5:5']", "ports.host_ip"), ("ports: ['5-6:5']", "ports.published"),
        ("networks: {default: {ipv4_address: 1.2.3.4}}", "networks.ipv4_address"),
        ("deploy: {resources: {reservations: {devices: []}}}", "deploy.resources.reservations.devices"),
        ("deploy: {restart_policy: {condition: unless-stopped}}", "deploy.restart_policy.condition"),
        ("ports: [{target: 5, published: 5, mode: host}], deploy: {update_config: {order: start-first}}", "ports"),
        ("ports: [{target: 5, published: 5, mode: host}, {target: 6, published: 5, mode: host}]", "ports"),
        ("ports: ['5:5'], deploy: {endpoint_mode: dnsrr}", "ports"),
        ("restart: sometimes", "restart"), ("deploy: {mode: foo}", "deploy.mode"),
        ("mem_limit: 1m", "deploy.resources.limits.memory"), ("cpus: 0.0001", "deploy.resources.limits.cpus"),
        ("deploy: {endpoint_mode: foo}", "deploy.endpoint_mode"),
        ("deploy: {rollback_config: {failure_action: rollback}}", "deploy.rollback_config.failure_action"),
        ("deploy: {placement: {constraints: [foo]}}", "deploy.placement.constraints"),
        ("ports: [{target: 5, published: 5, mode: foo}]", "ports"),
        ("volumes: ['/a:/x', '/b:/x'], tmpfs: /x", "volumes"),
    ],
)  # fmt: skip
def test_what_swarm_cannot_have_is_an_error(compiled: Any, text: str, rule: str) -> None:
    assert ("error", rule) in said(compiled, text)


@pytest.mark.parametrize(
    ("text", "rule"),
    [("tty: true", "tty"), ("links: ['a:b']", "links"), ("tmpfs: ['/t:uid=5']", "tmpfs"),
     ("devices: [/dev/net/tun]", "devices"), ("image: x", "image"), ("image: 'r:5000/x'", "image"),
     ("deploy: {replicas: 2}, ports: [{target: 5, published: 5, mode: host}]", "ports")],
)  # fmt: skip
def test_what_is_lost_is_a_warning(compiled: Any, text: str, rule: str) -> None:
    assert ("warning", rule) in said(compiled, text)


def test_what_no_secret_can_be(compiled: Any, tmp_path: Any) -> None:
    (tmp_path / "large").write_bytes(b"x" * 600_000)
    text = "services: {a: {image: 'x:1', secrets: [s, t]}}\n"
    top = f"secrets:\n  s: {{file: ./large}}\n  t: {{file: ./t, name: {'n' * 65}}}"
    said = [(item.position.line, item.meaning) for item in compiled(text + top).diagnostics]
    assert [line for line, _ in said] == [3, 4]
    assert "has 600000 bytes" in said[0][1] and "longer than the 64" in said[1][1]


def variables(compiled: Any, text: str, **options: Any) -> dict[str, str]:
    """The variable that names each secret and config of the project in `text`."""
    return {content.key: content.variable for content in compiled(text, **options).content_files}


def test_variables_of_names_are_those_of_nothing_else(compiled: Any, accepted: Any) -> None:
    keys = ["docker", "compose-x", "buildx", "1a", "a-b", "a_b", "A.b", "plain", "path", "home"]
    contents = ", ".join(f"{key}: {{content: x}}" for key in keys)
    text = f"services: {{a: {{image: 'x:1', configs: [{', '.join(keys)}]}}}}\nconfigs: {{{contents}}}\n"
    found = variables(compiled, text)
    assert len({variable.upper() for variable in found.values()}) == len(keys)
    assert not [name for name in found.values() if name.startswith(("DOCKER_", "COMPOSE_", "BUILDX_", "1", "A_B_"))]
    assert (found["plain"], found["path"]) == ("PLAIN_CONFIG", "PATH_CONFIG")
    accepted(stack.stack_file(compiled(text)))


@pytest.mark.parametrize(
    ("written", "options"),
    [
        ("environment: {APP_CONFIG: ''}", {}),
        (f"environment: {{A: '{placeholder.placeholder_for('APP_CONFIG')}'}}", {}),
        ("environment: [APP_CONFIG]", {"interpolate": False}),
        ("command: [a, '${APP_CONFIG:-x}']", {"interpolate": False}),
    ],
)
def test_a_variable_of_the_stack_names_no_config(compiled: Any, written: str, options: dict[str, Any]) -> None:
    text = "services: {{a: {{image: 'x:1', configs: [app], {}}}}}\nconfigs: {{app: {{content: x}}}}"
    assert variables(compiled, text.format("tty: false"), **options) == {"app": "APP_CONFIG"}
    assert variables(compiled, text.format(written), **options)["app"].endswith("_APP_CONFIG")


def test_a_template_driver_is_kept(compiled: Any, accepted: Any) -> None:
    text = (
        "services: {a: {image: 'x:1', secrets: [s, e], configs: [c]}}\n"
        "secrets: {s: {file: ./f, template_driver: golang, labels: {l: m}}, e: {external: true}}\n"
        "configs: {c: {content: '{{.Node.Hostname}}', template_driver: golang}}\n"
    )
    document = yaml.safe_load(accepted(stack.stack_file(compiled(text))))
    assert document["secrets"]["s"]["template_driver"] == document["configs"]["c"]["template_driver"] == "golang"
    assert document["secrets"]["s"]["labels"] == {"l": "m"} and "template_driver" not in document["secrets"]["e"]


@pytest.mark.parametrize(
    ("kind", "written", "kept"),
    [
        ("configs", "external: true, file: ./f", {"external": True}),
        ("secrets", "file: ./f, external: true, name: n", {"external": True, "name": "n"}),
        ("secrets", "external: true, environment: X", {"external": True}),
        ("configs", "external: {name: n}, content: x", {"external": True, "name": "n"}),
        ("secrets", "external: true, driver: d", {"external": True}),
        ("secrets", "driver: d, file: ./f, driver_opts: {o: p}", {"driver": "d", "driver_opts": {"o": "p"}}),
    ],
)
def test_content_from_two_places_is_an_error(
    compiled: Any, accepted: Any, kind: str, written: str, kept: dict[str, Any]
) -> None:
    result = compiled(f"services:\n  a: {{image: 'x:1', {kind}: [s]}}\n{kind}:\n  s: {{{written}}}\n")
    (error,) = result.diagnostics
    assert (str(error.severity), error.position.line) == ("error", 4)
    assert error.rule.partition(".")[0] == kind and "only one of them can define its content" in error.meaning
    assert result.document[kind] == {"s": kept}
    accepted(stack.stack_file(result))


def test_options_without_a_driver_are_told_of(compiled: Any) -> None:
    text = "services: {a: {image: 'x:1', secrets: [s]}}\nsecrets:\n  s: {file: ./f, driver_opts: {a: b}}\n"
    (warning,) = compiled(text).diagnostics
    assert (str(warning.severity), warning.position.line, warning.rule) == ("warning", 3, "secrets.driver_opts")


def test_a_config_in_two_ways_is_an_error(compiled: Any) -> None:
    text = "services: {a: {image: 'x:1', configs: [s]}}\nconfigs:\n  s: {content: x, environment: HOME}\n"
    assert [(item.position.line, item.rule) for item in compiled(text).diagnostics] == [(3, "configs.environment")]


def test_depends_on_is_said_once(compiled: Any) -> None:
    text = "services: {a: {image: 'x:1', depends_on: [b]}, b: {image: 'x:1', depends_on: [c]}, c: {image: 'x:1'}}"
    result = compiled(text)
    assert [item.rule for item in result.diagnostics] == ["depends_on"]
    assert result.document["services"] == {name: {"image": "x:1"} for name in "abc"}


def test_compile_refuses_with_every_error_and_its_place(tmp_path: Any) -> None:
    from openbalena import compose
    from openbalena.base.errors import UsageError

    path = tmp_path / "c.yml"
    path.write_text("services:\n  a:\n    image: x\n    pid: host\n    ipc: host\n")
    with pytest.raises(UsageError) as caught:
        stack.compile(compose.load([path], environment={}))
    assert [line.partition(": ")[0] for line in str(caught.value).splitlines()] == [f"{path}:5:5", f"{path}:4:5"]


@pytest.mark.parametrize(("length", "refused"), [(63, False), (64, True)])
def test_a_service_has_a_name_of_63_characters_at_most(compiled: Any, length: int, refused: bool) -> None:
    result = compiled(f"services:\n  {'a' * length}: {{image: 'x:1'}}\n")
    assert any("at most 63 characters" in item.meaning for item in result.diagnostics) is refused
