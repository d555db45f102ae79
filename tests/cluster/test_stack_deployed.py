"""What the compiler promises is what a real Engine has: small Compose files, compiled, deployed and inspected."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from swarm_project import fetch_busybox
from waiting import BOUND

from openbalena import compose, stack
from openbalena.cli.main import main
from openbalena.compose2swarm.main import main as compose2swarm
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


FOREIGN = """\
services:
  web:
    image: reader:1
    command: [sleep, "100000"]
    stop_grace_period: 1s
    configs: [{source: page, target: /page}]
    secrets: [key]
    deploy:
      placement: {constraints: [node.hostname == node1]}
      update_config: {monitor: 1s}
configs: {page: {file: ./page}}
secrets: {key: {file: ./key}}
"""
# Of the second one's objects, the names begin as the first one's do.
STACKS = ("shop", "shop_x")


@pytest.fixture
def reader(engine: engines.Engine, tmp_path: Path) -> None:
    """The image reader:1 on node1: nothing but busybox."""
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    shutil.copy2(fetch_busybox(tmp_path), root / "bin" / "busybox")
    for name in ("sleep", "cat"):
        (root / "bin" / name).symlink_to("busybox")
    archive = subprocess.run(["tar", "-C", root, "-c", "."], check=True, capture_output=True, timeout=60).stdout
    node, environment = engine.nodes[0], engine.process_environment()
    subprocess.run(node.command("import", "-", "reader:1"), env=environment, input=archive, check=True, timeout=120)


def read_in(engine: engines.Engine, stack: str) -> str:
    """What the stack's only running container finds in its config and its secret."""
    label = f"label=com.docker.swarm.service.name={stack}_web"
    (container,) = engine.nodes[0].docker("ps", "--quiet", "--filter", label).split()
    return engine.nodes[0].docker("exec", container, "cat", "/page", "/run/secrets/key")


@pytest.mark.usefixtures("reader")
def test_a_changed_secret_and_config_of_any_project_roll_under_two_names(
    engine: engines.Engine, client: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "compose.yaml", tmp_path / "out"
    source.write_text(FOREIGN)
    try:
        for content in ("one", "two", "three"):
            for file in ("page", "key"):
                (tmp_path / file).write_text(f"{file} {content}\n")
            assert compose2swarm(["render", str(source), "-p", STACKS[0], "-o", str(out)]) == 0
            for name in STACKS:
                assert main(["--lab", "stack", "up", "-c", str(out), "-p", name]) == 0, capsys.readouterr().err
            assert {read_in(engine, name) for name in STACKS} == {f"page {content}\nkey {content}\n"}
        deploy_it = capsys.readouterr().err.rpartition("deploy it: ")[2].splitlines()[0]
        for _ in range(2):
            environment = engine.process_environment({"DOCKER_HOST": engine.host})
            subprocess.run(deploy_it, shell=True, check=True, env=environment, capture_output=True, timeout=120)
        assert main(["--lab", "stack", "diff", "-c", str(out), "-p", STACKS[0]]) == 0
        assert capsys.readouterr().out == "no changes\n"
        kept = sorted(item.name for kind in (client.secrets, client.configs) for item in kind.list())
        kept = [name.rpartition("-")[0] for name in kept if name.startswith("shop")]
        assert kept == ["shop_key", "shop_page", "shop_x_key", "shop_x_page"]
    finally:
        for name in STACKS:
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
