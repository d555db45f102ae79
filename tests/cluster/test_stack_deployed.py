"""What the compiler promises is what a real Engine has: small Compose files, compiled, deployed and inspected."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from waiting import BOUND

from openbalena import compose, stack
from openbalena.docker import engine as engines
from openbalena.lab import Endpoint
from openbalena.operations.engines import default_engine
from openbalena.operations.stack_diff import document_changes, rendered_document
from openbalena.swarm import deploy
from openbalena.swarm.teardown import remove_stack

pytestmark = pytest.mark.cluster
CASES = yaml.safe_load(Path(__file__).with_name("stack_cases.yml").read_text())


@pytest.fixture(scope="module")
def engine(lab: Endpoint) -> engines.Engine:
    """The lab's first engine."""
    return default_engine(True)


@pytest.fixture(scope="module")
def client(engine: engines.Engine) -> Iterator[Any]:
    with engine.client() as connected:
        yield connected


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_the_engine_has_what_was_promised(
    case: dict[str, Any], engine: engines.Engine, client: Any, tmp_path: Path
) -> None:
    name = "case-" + re.sub(r"\W+", "-", case["name"])[:30].strip("-").lower()
    for file, text in case.get("files", {}).items():
        (tmp_path / file).write_text(text)
    source = tmp_path / "compose.yml"
    source.write_text(yaml.safe_dump({"name": name, "services": case["services"], **case.get("top", {})}))
    environment = case.get("environment", {})
    project = compose.load([source], environment=environment, profiles=case.get("profiles", ()))
    stack.render(stack.compile(project), tmp_path / "out", {})
    try:
        deploy.submit_stack(engine, tmp_path / "out", name, resolve=False)
        service = client.api.inspect_service(f"{name}_a")["Spec"]
        wrong = {
            path: found
            for path, wanted in case["expect"].items()
            if not matches(found := look(service, path.replace("SpecName", name), client), named(wanted, name))
        }
        assert not wrong
        assert not document_changes(client, rendered_document(engine, tmp_path / "out", name), name)
    finally:
        # Whole, after its last task: the next one may want the addresses of its networks.
        remove_stack(engine, client, name, BOUND, lambda left: None)


def named(wanted: Any, name: str) -> Any:
    return wanted.replace("SpecName", name) if isinstance(wanted, str) else wanted


def look(service: dict[str, Any], path: str, client: Any) -> Any:
    """The value at `path`: of the service, of its TaskTemplate, or of a network or config that is named."""
    if ":" in path and " " in path:
        kind, _, rest = path.partition(":")
        name, _, path = rest.partition(" ")
        if kind == "networks":
            return walk(client.api.inspect_network(name), path)
        (found,) = (item for item in client.api.configs() if item["Spec"]["Name"].startswith(name))
        return walk(found["Spec"], path)
    found = walk(service, path)
    return walk(service["TaskTemplate"], path) if found is None else found


def walk(value: Any, path: str) -> Any:
    if isinstance(value, dict) and path in value:
        return value[path]
    for key in path.split("."):
        if isinstance(value, list):
            value = value[int(key)] if int(key) < len(value) else None
        elif isinstance(value, dict):
            value = value.get(key)
        else:
            return None
    return value


def matches(found: Any, wanted: Any) -> bool:
    """Whether `found` says what `wanted` says; the Engine adds defaults of its own to mappings."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(matches(found.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(found, list):
        return len(found) == len(wanted) and all(map(matches, found, wanted))
    return bool(found == wanted)


def test_every_key_that_swarm_knows_is_in_a_case() -> None:
    from openbalena.stack.rule import Status
    from openbalena.stack.rules import RULES

    used = {key for case in CASES for service in case["services"].values() for key in service}
    windows = {"isolation", "credential_spec"}
    rules = {key for key, rule in RULES.items() if rule.status is not Status.IMPOSSIBLE}
    assert rules - used - windows == {"pull_refresh_after"}
    assert len(CASES) >= 40
