"""A running deployment is given its networks in two steps, and then each container reaches what it has to, alone."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import acceptance
import pytest
from deployed_clients import Load, session
from deployed_project import STACK, command, running, tool
from lab_target import lab_target
from networks_documented import documented

from openbalena import verify
from openbalena.base.project import Project
from openbalena.lab import network, node
from openbalena.operations.engines import default_engine
from openbalena.swarm import networks, state
from openbalena.verify import vpn

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

# What the networks were before there was more than one. HAProxy keeps its own: it would end connections to start anew.
BEFORE = """\
services:
  api: {networks: !override [default]}
  registry: {networks: !override [default]}
  db: {networks: !override [default]}
  redis: {networks: !override [default]}
  s3: {networks: !override [default]}
  balena-ca: {networks: !override [default]}
"""
LOCAL = "a local user of a node"
MOVED = {"db", "redis", "s3", "balena-ca"}
PORTS = (80, 81, 443, 1936, 3128, 5432, 6379, 8000, 8888, 8889, 10000, 43697)
# Tries every address and port at once, as a user without rights (who may read none of Python's files: all is imported
# before); prints those that accept a connection.
TRY = """\
import encodings.idna, json, os, socket, sys
from concurrent.futures import ThreadPoolExecutor
os.setgid(65534), os.setuid(65534)
def answers(place):
    try:
        socket.create_connection(place, 2).close()
    except OSError:
        return False
    return True
places = [tuple(place) for place in json.load(sys.stdin)]
with ThreadPoolExecutor(256) as pool:
    print(json.dumps([place for place, found in zip(places, pool.map(answers, places)) if found]))
"""


def attached() -> dict[str, set[str]]:
    """The networks of each service, without the stack's name."""
    with default_engine(lab=True).client() as client:
        known = networks.network_names(client)
        return {
            service.short_name: {
                known[item["Target"]].removeprefix(f"{STACK}_") for item in service.template["Networks"]
            }
            for service in state.read_cluster(client, STACK).services
        }


def created() -> dict[str, set[str]]:
    """The tasks that there have been of each service, as far as the swarm remembers (five for each slot)."""
    with default_engine(lab=True).client() as client:
        cluster = state.read_cluster(client, STACK)
    return {service.short_name: {task.id for task in cluster.tasks_of(service)} for service in cluster.services}


@pytest.fixture
def one_network(deployed: Project) -> Iterator[dict[str, set[str]]]:
    """The deployment as it was when each service was on `default`; the networks that it had."""
    before, override = attached(), deployed.directory / "docker-compose.override.yml"
    override.write_text(BEFORE)
    try:
        done = tool(deployed, "swarm-up")
        assert done.returncode == 0, done.stdout + done.stderr
        assert {name for name, nets in attached().items() if nets == {"default"}} >= MOVED | {"api", "registry"}
        yield before
    finally:
        override.unlink(missing_ok=True)
        if attached() != before:
            tool(deployed, "swarm-up")


def killed_between(project: Project) -> None:
    """Run swarm-up and kill it once it has begun the first step."""
    with subprocess.Popen(command(project, "swarm-up"), stderr=subprocess.PIPE, text=True) as begun:
        assert any("attaching new networks first" in line for line in begun.stderr or ()), "there was no first step"
        begun.kill()


def test_networks_change_without_a_cut(one_network: dict[str, set[str]], deployed: Project, tmp_path: Path) -> None:
    to = lab_target(deployed)
    before, tasks = running(), created()
    (deployed.directory / "docker-compose.override.yml").unlink()
    load = Load(to)
    with session(to, to.addresses[0], tmp_path) as (client, said), load.running():
        killed_between(deployed)
        done = tool(deployed, "swarm-up")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "shares no network" not in done.stderr
        assert client.poll() is None
        after = "".join(said).partition(vpn.CONNECTED)[2]
        assert "restarting" not in after and vpn.CONNECTED not in after, after
    assert attached() == one_network
    now = running()
    assert {name for name in now if now[name] != before[name]} == MOVED | {"api", "registry"}
    assert {
        name: len(now_there - tasks[name]) for name, now_there in created().items() if name in MOVED
    } == dict.fromkeys(MOVED, 1)
    assert load.failed == [] and load.done > 200
    results = verify.run_checks(verify.CHECKS, to, lambda _: None)
    assert [result.line() for result in results if result.outcome != acceptance.GREEN[result.check.name]] == []


def places() -> Iterator[tuple[str, str, str, dict[str, list[str]]]]:
    """Each task's node, service, network namespace (a file) and its addresses: by network, on the bridge as ``."""
    for there in default_engine(lab=True).nodes:
        process = node.process(there.name)
        with there.client() as client:
            bridge = client.api.inspect_network("docker_gwbridge")["Containers"]
            for container in client.api.containers():
                inspected = client.api.inspect_container(container["Id"])
                service = inspected["Config"]["Labels"].get("com.docker.swarm.service.name", "")
                if not service.startswith(f"{STACK}_"):
                    continue
                found = inspected["NetworkSettings"]
                addresses = [item["IPAddress"] for item in found["Networks"].values() if item["IPAddress"]]
                outer = bridge.get(container["Id"], {}).get("IPv4Address", "").partition("/")[0]
                space = f"/proc/{process}/root{found['SandboxKey'].replace('/var/run/', '/run/')}"
                yield there.name, service.removeprefix(f"{STACK}_"), space, {"": [outer] * bool(outer), "in": addresses}


def answering(space: str, targets: Mapping[tuple[str, int], str]) -> set[str]:
    """Which of `targets` (service and port, by address and port) accept a connection from a network namespace."""
    done = subprocess.run(
        ["nsenter", f"--net={space}", sys.executable, "-c", TRY],
        input=json.dumps(list(targets)), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {targets[address, port] for address, port in json.loads(done.stdout)}


def test_who_reaches_what_is_what_the_documentation_says(deployed: Project) -> None:
    tasks = list(places())

    def targets(place: str, besides: str = "") -> dict[tuple[str, int], str]:
        """Every address, those on the bridge at `place` alone: on other nodes they are others' addresses."""
        return {
            (address, port): f"{service} {port}"
            for at, service, _, addresses in tasks if service != besides
            for address in [*addresses["in"], *(addresses[""] if at == place else [])] for port in PORTS
        }  # fmt: skip

    # One container of each service.
    questions = {who: (space, targets(at, who)) for at, who, space, _ in tasks}
    nodes = {f"{LOCAL} {at}": (str(network.namespace(at)), targets(at)) for at in {at for at, *_ in tasks}}
    found: dict[str, set[str]] = {}
    with ThreadPoolExecutor(4) as pool:
        for who, answers in zip(
            [*questions, *nodes],
            pool.map(lambda asked: answering(*asked), [*questions.values(), *nodes.values()]),
            strict=True,
        ):
            found.setdefault(LOCAL if who in nodes else who, set()).update(answers)
    matrix = {who: sorted(what) for who, what in sorted(found.items())}
    print(json.dumps(matrix, indent=1))  # noqa: T201 - shown where the test fails
    # The world outside is the lab's own service, and the stand-in for the store has no console at 43697.
    measured = {who: {item for item in what if not item.startswith("internet ")} for who, what in matrix.items()}
    expected = {who: what - {"s3 43697"} for who, what in documented().items()}
    assert set(measured) - {"internet"} == set(expected)
    wrong = {
        who: {"answers": sorted(measured[who] - expected[who]), "is silent": sorted(expected[who] - measured[who])}
        for who in expected if measured[who] != expected[who]
    }  # fmt: skip
    assert wrong == {}
