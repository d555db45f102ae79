"""Versions that do not run, on a real swarm: what is said, what serves meanwhile, and that the next good one runs."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from swarm_project import COMPOSE, Small, fetch_busybox

from openbalena.docker.engine import Engine
from openbalena.lab import Endpoint
from openbalena.operations.engines import default_engine
from openbalena.swarm import state

pytestmark = pytest.mark.cluster

CASES = yaml.safe_load(Path(__file__).with_name("bad_versions.yml").read_text())
# `web` serves a page, both services look at a setting when they start, and `store` is rolled back too.
REPLACED = {
    "echo started;": "echo started; echo $$GREETING | grep -q '^[a-z]*$$' || "
    "{ echo GREETING is $$GREETING, expected a word; exit 4; }; mkdir /www; echo web >/www/index.html; httpd -h /www;",
    'GREETING: "hello"': "GREETING: hello",
    'test: [CMD, "true"]': 'test: [CMD, wget, -q, -O, /dev/null, "http://127.0.0.1/"]',
    "date >> /data/starts;": "test $$MODE = date || { echo MODE is $$MODE, expected date; exit 5; }; "
    "date >> /data/starts;",
    "deploy: {replicas: 1, ": "deploy: {replicas: 1, update_config: {failure_action: rollback, monitor: 2s}, ",
    "    volumes: [store-data:/data]": "    environment: {MODE: date}\n    volumes: [store-data:/data]",
}
ONLY_HERE = "localhost:1/only-here:1"
# Each task, three times a second; it ends by itself if nobody stops it. `wget -T` of Debian's static busybox crashes.
READS = """
rm -f /tmp/over; number=0
until [ -e /tmp/over ] || [ $number = 900 ]; do
    addresses=$(busybox nslookup web | busybox awk '/^Name/ {found = 1} found && /^Address/ {print $2}')
    [ "$addresses" ] || echo unknown
    for address in $addresses; do
        busybox timeout 3 wget -q -O /dev/null "http://$address/" && echo read || echo failed
    done
    number=$((number + 1)); sleep 0.3
done
"""


def replaced(text: str, replacements: dict[str, str]) -> str:
    for old, new in replacements.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


GOOD = replaced(COMPOSE, REPLACED)


@pytest.fixture(scope="module")
def serving(lab: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    """The small deployment with a page; node1 has an image that no other node has."""
    made = Small(tmp_path_factory.mktemp("small"), fetch_busybox(tmp_path_factory.mktemp("busybox")))
    made.compose = GOOD
    made.write()
    # `store` has the build context, so that `web` may have another image.
    file = made.directory / "lab" / "docker-compose.yml"
    file.write_text(file.read_text().replace("  web:", "  store:"))
    node = default_engine(True).nodes[0]
    with made.deployed():
        node.docker("tag", services()["store"]["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"], ONLY_HERE)
        try:
            yield made
        finally:
            node.docker("image", "rm", ONLY_HERE)


def services() -> dict[str, Any]:
    """Each service as Swarm has it."""
    with default_engine(True).client() as client:
        return {raw["Spec"]["Name"].removeprefix("small_"): raw for raw in client.api.services()}


def objects() -> tuple[dict[str, int], set[str]]:
    """What a deploy would change: versions of services, and the names of the running tasks, secrets and configs."""
    with default_engine(True).client() as client:
        found = state.read_cluster(client, "small")
        names = {raw["Spec"]["Name"] for kind in ("secrets", "configs") for raw in getattr(client.api, kind)()}
    running = {task.id for task in found.tasks if task.state == "running"}
    return {name: raw["Version"]["Index"] for name, raw in services().items()}, running | names


@contextmanager
def reads() -> Iterator[list[str]]:
    """Read the page of `web` from the container of `front`; at the end the list has what came of each read."""
    engine, name = reader()
    with subprocess.Popen(
        engine.command("exec", name, "sh", "-c", READS), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        outcomes = [process.stdout.readline().strip()]
        try:
            yield outcomes
        finally:
            engine.docker("exec", name, "sh", "-c", "echo >/tmp/over")
            outcomes += process.communicate(timeout=30)[0].split()


def reader() -> tuple[Engine, str]:
    """The engine and the name of the container of `front`."""
    for engine in default_engine(True).nodes:
        if names := engine.docker("ps", "--filter", "name=small_front", "--format", "{{.Names}}").split():
            return engine, names[0]
    raise AssertionError("front does not run")


@pytest.mark.parametrize("case", CASES, ids=[case["case"] for case in CASES])
def test_a_bad_version_is_rolled_back_or_refused(serving: Small, case: dict[str, Any]) -> None:
    before = objects()
    serving.compose = replaced(GOOD, case["replace"])
    serving.write()
    try:
        with reads() as outcomes:
            result = serving.run("swarm-up", "--timeout", "120")
        after = objects()
    finally:
        serving.compose = GOOD
        serving.write()
        good = serving.run("swarm-up")
    assert result.code == case["exit"], result
    assert [text for text in case["says"] if text not in result.error] == [], result
    assert [text for text in case.get("early", ()) if text not in result.err] == [], result
    for name, tasks in case.get("serve", {}).items():
        assert f"{name}: {tasks} of {tasks} tasks of the previous version are running" in result.error, result
    assert (after == before) is ("serve" not in case)
    assert outcomes.count("read") >= 2 and set(outcomes) == {"read"}, outcomes
    assert good.code == 0, good
