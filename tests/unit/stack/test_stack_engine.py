"""What the Engine refuses only when the stack is deployed, or with which it starts no task."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from openbalena import stack
from openbalena.stack.validate import validate

CASES = yaml.safe_load(Path(__file__).with_name("engine_refusals.yml").read_text())
TOP = """\
volumes: {vol: {}}
secrets: {c: {external: true}, d: {external: true}}
configs: {c: {external: true}, d: {external: true}}
networks:
  ingress: {external: true}
  host: {external: true}
  too_long: {ipam: {config: [{subnet: 10.1.0.0/33}]}}
  addresses: {ipam: {config: [{subnet: 10.1.0.0/24}, {subnet: "${SUBNET:-10.2.0.0/24}"}, {subnet: "fd00::/64"}]}}
"""


def errors(directory: Path, text: str) -> list[tuple[str, int]]:
    """Rule and line of each error of `stack validate`."""
    path = directory / "stack.yml"
    path.write_text(text)
    found = [item for item in validate([path]) if item.severity is stack.Severity.ERROR]
    return [(item.rule, item.position.line) for item in found]


def service(keys: str, name: str = "a") -> str:
    """A stack with one service, in line 2."""
    image = "" if keys.startswith("image") else "image: 'x:1', "
    return f"services:\n  {name}: {{{image}{keys}}}\n{TOP}"


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["refused"]))
def test_it_is_found_before_the_deploy(case: dict[str, Any], tmp_path: Path) -> None:
    (found,) = errors(tmp_path, service(case["refused"]))
    assert found[0] == case["rule"]
    assert found[1] == (9 if "subnet" in case["rule"] else 7 if case["rule"] == "networks" else 2)
    assert errors(tmp_path, service(case["taken"])) == []


@pytest.mark.parametrize(
    ("name", "refused"),
    [("svc-", True), ("svc_", True), ("a.b", True), ("-svc", False), ("a__b", False), ("A1", False), ("x-y", False)],
)
def test_names_of_services(name: str, refused: bool, tmp_path: Path) -> None:
    assert errors(tmp_path, service("init: true", name)) == [("services", 2)] * refused


@pytest.mark.parametrize("key", ["configs", "secrets"])
def test_what_compose_replaces_is_told_of(key: str, compiled: Any) -> None:
    text = service(f"{key}: [c, {{source: d, target: /e}}, {{source: c, target: /e}}]")
    found = [item for item in compiled(text).diagnostics if item.rule == key]
    assert [(item.severity, item.position.line) for item in found] == [("warning", 2)]
    assert "replaces the one at /e before it" in found[0].meaning


def test_a_size_that_no_number_can_hold(tmp_path: Path) -> None:
    text = service(f"deploy: {{resources: {{limits: {{memory: '{'9' * 400}'}}}}}}")
    assert errors(tmp_path, text) == [("syntax", 2)]


@pytest.mark.parametrize("kind", ["secrets", "configs"])
def test_content_that_is_empty_is_refused(kind: str, compiled: Any, tmp_path: Path) -> None:
    def found(origin: str, **options: Any) -> list[str]:
        text = f"services:\n  a: {{image: 'x:1', {kind}: [c]}}\n{kind}:\n  c: {origin}\n"
        diagnostics = compiled(text, **options).diagnostics
        return [f"{item.position.line} {item.meaning}" for item in diagnostics if item.severity == "error"]

    (tmp_path / "empty").touch()
    (tmp_path / "full").write_text("x")
    refused = ["4 c is empty, which the engine refuses"]
    assert found("{environment: V}") == found("{content: ''}") == found("{file: ./empty}") == refused
    assert found("{environment: V}", environment={"V": "x"}) == found("{content: x}") == found("{file: ./full}") == []
    assert found("{environment: V}", interpolate=False) == []
