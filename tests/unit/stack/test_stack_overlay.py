"""x-swarm: the fragment, and its three words."""

import re
from typing import Any

import pytest

from openbalena import stack
from openbalena.base.errors import UsageError


def test_the_fragment_merges_as_an_override_file_does(compiled: Any) -> None:
    result = compiled(
        """
services:
  a:
    image: x:1
    environment: [A=1, B=2]
    volumes: [one:/d]
    profiles: [p]
    x-swarm: {environment: {B: 3}, volumes: [two:/d], deploy: {replicas: 2}, profiles: !reset []}
volumes: {one: {}, two: {}}
x-swarm:
  services: {b: {image: y}}
  volumes: {two: {driver: z}}
"""
    )
    assert result.document["services"]["a"] == {
        "image": "x:1", "environment": {"A": "1", "B": "3"}, "deploy": {"replicas": 2},
        "volumes": [{"type": "volume", "source": "two", "target": "/d"}],
    }  # fmt: skip
    assert result.document["services"]["b"] == {"image": "y"}
    assert result.document["volumes"] == {"two": {"driver": "z"}}


def test_profiles_of_the_fragment_count_for_swarm_only(compiled: Any) -> None:
    text = "services: {a: {image: x, x-swarm: {profiles: [p]}}, b: {image: y}}"
    assert list(compiled(text).document["services"]) == ["b"]
    assert list(compiled(text, profiles=["p"]).document["services"]) == ["a", "b"]


def test_stateful_pins_to_the_node_with_the_label(compiled: Any) -> None:
    result = compiled("services: {a: {image: x, volumes: [d:/d], x-swarm: {stateful: [d]}}}\nvolumes: {d: {}}")
    placement = result.document["services"]["a"]["deploy"]["placement"]
    assert placement == {"constraints": ["node.labels.openbalena.data.d == true"]}
    assert result.node_labels == {"openbalena.data.d": "true"}
    assert result.stateful == {"d": "a"}


@pytest.mark.parametrize("deploy", ["replicas: 2", "mode: global", "update_config: {order: start-first}"])
def test_stateful_with_two_writers_is_refused(compiled: Any, deploy: str) -> None:
    service = f"{{image: x, volumes: [d:/d], deploy: {{{deploy}}}, x-swarm: {{stateful: [d]}}}}"
    diagnostics = compiled(f"services: {{a: {service}}}\nvolumes: {{d: {{}}}}").diagnostics
    assert [item.rule for item in diagnostics if item.severity is stack.Severity.ERROR] == ["stateful"]


def test_two_writers_are_refused_where_they_are_asked_for(compiled: Any) -> None:
    service = "image: x\n    volumes: [d:/d]\n    x-swarm: {stateful: [d]}\n    deploy:\n      replicas: 2"
    diagnostics = compiled(f"services:\n  a:\n    {service}\nvolumes: {{d: {{}}}}").diagnostics
    (found,) = (item for item in diagnostics if item.severity is stack.Severity.ERROR)
    assert (found.position.line, found.instead) == (7, "write deploy.replicas: 1") and "of a would" in found.meaning


def test_secret_env_moves_variables_into_one_secret(compiled: Any) -> None:
    result = compiled(
        "name: p\nservices: {a: {image: x, environment: {A: '1', B: 'x$$y', C: '3'},"
        " x-swarm: {secret_env: {target: /t.env, keys: [B, C]}}}}"
    )
    assert result.document["services"]["a"] == {
        "image": "x", "environment": {"A": "1"}, "secrets": [{"source": "a-env", "target": "/t.env", "mode": 0o400}],
    }  # fmt: skip
    assert result.document["secrets"] == {"a-env": {"name": "${A_ENV_SECRET:-p_a-env}", "file": "./secrets/a.env"}}
    content = result.secret_files["a-env"]
    assert (content.text, content.variable, content.services) == ("B=x$y\nC=3\n", "A_ENV_SECRET", ("a",))


@pytest.mark.parametrize("key", ["a-env", "a.env"])
def test_secret_env_takes_no_other_secret_s_place(compiled: Any, key: str) -> None:
    text = (
        "services:\n  a: {image: x, environment: {A: 1}, x-swarm: {secret_env: {target: /t, keys: [A]}}}\n"
        f"  b: {{image: x, secrets: [{key}]}}\nsecrets:\n  {key}: {{file: ./mine}}\n"
    )
    with pytest.raises(UsageError, match=rf"compose\.yml:5:\d+: secrets\.{key}: .* choose another name"):
        compiled(text)


def test_without_leaves_out_and_says_why(compiled: Any) -> None:
    result = compiled(
        "services: {a: {image: 'x:1', privileged: true, volumes: [c:/c, d:/d],"
        " x-swarm: {without: {privileged: not needed, volumes: {c: comes as a config}}}}}\n"
        "volumes: {c: {}, d: {driver: shared}}"
    )
    assert list(result.document["volumes"]) == ["d"]
    assert [item.meaning for item in result.diagnostics] == ["left out: not needed", "left out: comes as a config"]


@pytest.mark.parametrize(
    ("fragment", "message"),
    [
        ("without: {privileged: reason}", "names privileged, which the service does not have"),
        ("without: {volumes: {x: reason}}", "volumes has no item x: expected one of d, or remove it"),
        ("without: {volumes: ''}", "needs a reason"),
        ("without: {volumes: {d: null}}", "needs a reason"),
        ("stateful: [x]", "names x, which the service does not mount"),
        ("secret_env: {target: /t, keys: [Z]}", "names Z, which the service's environment does not set"),
        ("secret_env: {keys: [A]}", "expected target: and keys:"),
        ("secret_env: {target: /t, keys: [N]}", "has a line break"),
        ("5", "expected a mapping"),
    ],
)  # fmt: skip
def test_wrong_words_are_refused_with_their_place(compiled: Any, fragment: str, message: str) -> None:
    swarm = fragment if fragment == "5" else f"{{{fragment}}}"
    text = (
        "services:\n  a: {image: x, volumes: [d:/d], environment: {A: 1, N: \"1\\n2\"},\n"
        f"    x-swarm: {swarm}}}\nvolumes: {{d: {{}}}}"
    )  # fmt: skip
    with pytest.raises(UsageError, match=r"compose\.yml:3:\d+: .*" + re.escape(message)):
        compiled(text)


def test_a_port_of_one_protocol_is_left_out(compiled: Any) -> None:
    ports = "ports: ['53:53', '53:53/udp']"
    result = compiled(f"services: {{a: {{image: 'x:1', {ports}, x-swarm: {{without: {{ports: {{53/udp: no}}}}}}}}}}")
    assert [port["protocol"] for port in result.document["services"]["a"]["ports"]] == ["tcp"]
    with pytest.raises(UsageError, match=r"ports has no item 53/sctp: expected one of 53, or remove it"):
        compiled(f"services: {{a: {{image: 'x:1', {ports}, x-swarm: {{without: {{ports: {{53/sctp: no}}}}}}}}}}")


def test_nested_variables_are_refused_outside_secret_env(compiled: Any) -> None:
    nested = "${A:-${B:-x}}"
    text = f"services: {{a: {{image: x, environment: {{V: '{nested}'}}, x-swarm: {{%s}}}}}}"
    with pytest.raises(UsageError, match=r"compose\.yml:1:\d+: .*mangles"):
        compiled(text % "", interpolate=False)
    compiled(text % "secret_env: {target: /t, keys: [V]}", interpolate=False)
    with pytest.raises(UsageError, match="mangles"):
        compiled("services: {a: {image: 'x${A:+y}'}}", interpolate=False)
    for form in ("${A:?not-set}", "${A?x:-y}", "${A-b:-c}", "${A:-$B}", "${A:-$$b}"):
        with pytest.raises(UsageError, match="mangles"):
            compiled(f"services: {{a: {{image: '{form}'}}}}", interpolate=False)
    for form in ("${A:-b-c}", "${A-b?c}", "${A:?none}", "${A}", "$A", "$$A", "${A:-a$|b}"):
        compiled(f"services: {{a: {{image: '{form}'}}}}", interpolate=False)
    with pytest.raises(UsageError, match="does not start a variable"):
        compiled("services: {a: {image: 'x$'}}", interpolate=False)
