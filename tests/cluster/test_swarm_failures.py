"""Deployments that fail on a real swarm: what is said, and how soon."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pytest
from swarm_project import COMPOSE, Result, Small
from waiting import BOUND, eventually

from openbalena.base.errors import OperationError
from openbalena.base.names import LOCK_CONFIG
from openbalena.lab import Endpoint, network, node
from openbalena.operations.engines import default_engine
from openbalena.swarm import deploy, job, lock, placement, state

pytestmark = pytest.mark.cluster

Done = TypeVar("Done")


@pytest.fixture
def changed(small: Small) -> Iterator[Callable[..., Result]]:
    """Deploy with a changed definition; afterwards the right one is deployed again."""
    assert small.run("swarm-up").code == 0

    def deploy(*replacements: tuple[str, str], timeout: int = BOUND) -> Result:
        for old, new in replacements:
            assert old in small.compose
            small.compose = small.compose.replace(old, new)
        small.write()
        return small.run("swarm-up", "--timeout", str(timeout))

    yield deploy
    small.compose = COMPOSE
    small.write()
    assert small.run("swarm-up").code == 0


def test_what_a_rollback_needs_is_not_removed_beside_it(small: Small, changed: Callable[..., Result]) -> None:
    """As `pki sync` from a timer would, while an update is under way that will fail."""
    engine, before = default_engine(True), small.project.env_file.read_text()
    words = ("service", "inspect", "small_web", "--format")
    old = engine.docker(*words, "{{range .Spec.TaskTemplate.ContainerSpec.Secrets}}{{.SecretName}} {{end}}").split()
    small.compose = small.compose.replace("echo started;", "exit 3;")
    small.write()
    small.settings(COOKIE_SESSION_SECRET="0" * 32)
    try:
        assert small.run("swarm-up", "--no-wait").code == 0
        with engine.client() as client:
            assert not set(old) & set(deploy.remove_unused(client, "small"))
        state = (*words, "{{.UpdateStatus.State}}")
        eventually("the update rolled back", lambda: engine.docker(*state).strip() == "rollback_completed", 90)
        listed = engine.docker("secret", "ls", "--format", "{{.Name}}").split()
        assert old and set(old) <= set(listed)
    finally:
        small.project.env_file.write_text(before)


def test_secrets_that_a_program_logs_are_masked(small: Small, changed: Callable[..., Result]) -> None:
    token = next(x for x in small.project.env_file.read_text().splitlines() if x.startswith("COOKIE_SESSION_SECRET="))
    result = changed(("echo started;", "cat /run/web.env; exit 3;"))
    assert "| TOKEN=********" in result.error
    assert token.partition("=")[2] not in result.error + result.err + result.out


@contextmanager
def busy_once() -> Iterator["subprocess.Popen[str]"]:
    """The next container with secrets cannot be started, for a second; the process ends when it was so."""
    roots = [f"/proc/{node.process(manager.name)}/root" for manager in default_engine(True).nodes]
    with subprocess.Popen(
        [sys.executable, Path(__file__).with_name("busy.py"), *roots], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "watching\n"
        try:
            yield process
        finally:
            process.kill()


def until_busy(start: Callable[[int], Done]) -> Done:
    """What the first `start` of ten did whose container met the fault: the moment for it is short."""
    for number in range(10):
        with busy_once() as process:
            done = start(number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(2)
                return done
    raise AssertionError("no container could be kept from its start")


def test_an_update_that_a_fault_of_the_engine_stopped_is_asked_for_again(small: Small) -> None:
    page = small.directory / "page"
    before = page.read_text()
    try:

        def start(number: int) -> Result:
            page.write_text(f"{number}\n" * 300_000)  # it is written before the directory becomes read-only
            return small.run("swarm-up")

        done = until_busy(start)
    finally:
        page.write_text(before)
    assert done.code == 0, done
    assert "web on node" in done.err and "device or resource busy" in done.err and "retrying" in done.err


def test_a_job_that_a_fault_of_the_engine_stopped_is_started_again(small: Small) -> None:
    engine = default_engine(True)
    with engine.client() as client:
        cluster = state.read_cluster(client, "small")
        image = next(service.image for service in cluster.services if service.short_name == "web")
        secret = client.secrets.create(name="large", data=b"x" * 500_000)
        try:
            what = job.Job("test", cluster.this_node, image, "stat -c %s /run/secrets/large", secrets=["large"])
            (done,) = until_busy(lambda _: job.run_job(engine, client, [what], 60))
        finally:
            secret.remove()
    assert done == job.JobResult(True, ("500000",))


def test_the_time_limit_names_what_is_not_there(changed: Callable[..., Result]) -> None:
    result = changed(('[CMD, "true"]', '[CMD, "false"]'), ("start_period: 20s", "start_period: 300s"), timeout=15)
    assert result.code == 1 and "not converged within 15 s" in result.error
    assert "web: " in result.error and "is not healthy yet" in result.error


def test_a_missing_node_label_says_swarm_init(small: Small) -> None:
    small.forget_labels()
    result = small.run("swarm-up")
    assert result.code == 1 and "openbalena.data.store-data=true" in result.error and "swarm-init" in result.error
    assert small.run("swarm-init").code == 0


def test_a_data_label_on_two_nodes_is_refused_by_init_and_up(small: Small) -> None:
    engine = default_engine(True)
    engine.docker("node", "update", "--label-add", "openbalena.data.store-data=true", "node3")
    try:
        for command in ("swarm-init", "swarm-up"):
            result = small.run(command)
            assert result.code == 1 and "node1, node3" in result.error
    finally:
        engine.docker("node", "update", "--label-rm", "openbalena.data.store-data", "node3")


def test_a_port_that_a_container_holds(small: Small) -> None:
    small.run("swarm-down")
    node = default_engine(True).nodes[0]
    name = next(
        line for line in node.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split() if "web:c-" in line
    )
    node.docker("run", "--detach", "--name", "squatter", "--publish", "8088:80", name, "sleep", "600")
    try:
        result = small.run("swarm-up")
        assert result.code == 1 and "8088/tcp of front is in use on node node1" in result.error
    finally:
        node.docker("rm", "--force", "squatter")


def test_a_port_that_a_program_holds_on_another_node(small: Small) -> None:
    engine = default_engine(True)
    engine.docker("node", "update", "--label-add", "openbalena.ingress=true", "node3")
    listens = "import socket, time; it = socket.create_server(('', 8088)); print('ready', flush=True); time.sleep(600)"
    words = ["nsenter", f"--net={network.namespace('node3')}", sys.executable, "-c", listens]
    # The stack is up, so its task of node3 has the port first: away with it.
    small.run("swarm-down")
    try:
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as program:
            assert program.stdout and program.stdout.readline() == "ready\n"
            try:
                result = small.run("swarm-up")
            finally:
                program.kill()
        assert result.code == 1 and "8088/tcp of front is in use on node node3" in result.error, result
        assert "node1" not in result.error.partition("nothing was deployed")[2], "its port is free"
        result = small.run("swarm-up")
        assert result.code == 0 and "checking whether 8088/tcp is free on node3" in result.err, result
        result = small.run("swarm-up")
        assert result.code == 0 and "checking whether" not in result.err, "what the stack holds is not checked"
    finally:
        engine.docker("node", "update", "--label-rm", "openbalena.ingress", "node3")


def test_nfs_without_a_server_is_refused(small: Small) -> None:
    before = small.project.env_file.read_text()
    small.settings(USE_NFS="true", NFS_HOST="nfs.invalid")
    try:
        result = small.run("swarm-up")
        assert result.code == 2 and "NFS_HOST" in result.error
    finally:
        small.project.env_file.write_text(before)


def test_labels_that_are_set_at_once_are_all_there(small: Small) -> None:
    names = [f"test.{number}" for number in range(16)]
    with default_engine(True).client() as client:
        node_id = state.read_cluster(client, "small").this_node
        version = client.api.inspect_node(node_id)["Version"]["Index"]
        try:
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(lambda name: placement.add_labels(client.api, node_id, {name: "true"}), names))
            now = client.api.inspect_node(node_id)
            assert set(names) <= set(now["Spec"]["Labels"]) and now["Version"]["Index"] > version
        finally:
            there = client.api.inspect_node(node_id)["Spec"]["Labels"].keys() & set(names)
            default_engine(True).docker("node", "update", *(f"--label-rm={name}" for name in there), node_id)


def test_two_deployments_at_once_exclude_each_other(small: Small) -> None:
    with default_engine(True).client() as client, lock.acquire(client, "swarm-up"):
        result = small.run("swarm-up")
        assert result.code == 1
        assert "has been running swarm-up" in result.error and "for " in result.error and "root@" in result.error
        assert small.run("swarm-down").code == 1
    assert small.run("swarm-up").code == 0


def test_of_many_at_once_exactly_one_has_the_lock(lab: Endpoint) -> None:
    held, most = 0, 0
    guard = threading.Lock()

    def work() -> None:
        nonlocal held, most
        for _ in range(4):
            try:
                with default_engine(True).client() as client, lock.acquire(client, "test"):
                    with guard:
                        held += 1
                        most = max(most, held)
                    time.sleep(0.02)
                    with guard:
                        held -= 1
            except OperationError:
                time.sleep(0.01)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == 1


def test_a_lock_is_released_on_an_error(lab: Endpoint) -> None:
    with default_engine(True).client() as client:
        with pytest.raises(ZeroDivisionError), lock.acquire(client, "test"):
            raise ZeroDivisionError
        with lock.acquire(client, "test"):
            pass


def test_the_lock_of_a_killed_process_is_taken_over(lab: Endpoint, tmp_path: Path) -> None:
    script = """
import sys, time
from openbalena.swarm import lock
from openbalena.operations.engines import default_engine
with default_engine(True).client() as client, lock.acquire(client, "swarm-up"):
    print("held", flush=True)
    time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        with default_engine(True).client() as client:
            with pytest.raises(OperationError, match=f"process {process.pid}"), lock.acquire(client, "test"):
                pass
            process.kill()
            process.wait()
            with lock.acquire(client, "test"):
                pass
    finally:
        process.kill()
        process.wait()


def test_a_lock_of_another_machine_stays(lab: Endpoint) -> None:
    engine = default_engine(True)
    with engine.client() as client:
        labels = {
            **lock.owner_labels("swarm-up", datetime.now(UTC)),
            "machine": "elsewhere",
            "host": "",
            "owner": "ann@desk",
        }
        made = client.configs.create(name=LOCK_CONFIG, data=b"x", labels=labels)
        try:
            with (
                pytest.raises(OperationError, match="ann@desk has been running swarm-up"),
                lock.acquire(client, "test"),
            ):
                pass
        finally:
            made.remove()
