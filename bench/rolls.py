"""Measure what clients notice while services are replaced, scaled and killed, next to `docker stack deploy`.

    sudo .venv.dev/bin/python bench/rolls.py [EVENT …]

Deploys the demo on a lab of its own, and removes it. Through HAProxy, over TLS and both ingress addresses in turn, half
the clients over kept connections and half over new ones, read a session and register devices. A request is tried once,
and once more at the other address if the connection failed before anything was sent. Takes about 25 minutes for all
events; the results replace those in docs/failures.md.
"""

from __future__ import annotations

import os
import platform
import re
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT / "src"), str(ROOT / "tests" / "shared")]

import httpx  # noqa: E402
from deployed_project import STACK, tool  # noqa: E402
from lab_target import lab_target  # noqa: E402

from openbalena.base.files import write_atomic  # noqa: E402
from openbalena.base.project import Project  # noqa: E402
from openbalena.lab import paths  # noqa: E402
from openbalena.operations.engines import default_engine  # noqa: E402
from openbalena.swarm import deploy, state  # noqa: E402
from openbalena.verify import Target, account  # noqa: E402

PAGE = ROOT / "docs" / "failures.md"
# A script replaces the text between these.
BEGIN, END = "<!-- written by {} -->\n", "<!-- end -->\n"
# Clients, requests a second of each, and seconds for one attempt.
READERS, WRITERS, RATE, PATIENCE = 8, 4, 4.0, 5.0
SERVICES = ("db", "redis", "s3", "api", "registry", "vpn", "haproxy")


@dataclass
class Count:
    """Requests of one kind: all, failed at the first attempt, failed in the end, and the times of the latter."""

    made: int = 0
    first: int = 0
    after: int = 0
    failures: list[float] = field(default_factory=list)


@dataclass
class Load:
    """Readers and writers until `over`; `accepted` are the devices whose registration was acknowledged."""

    target: Target
    fleet: account.Application
    provisioning: str
    reads: Count = field(default_factory=Count)
    writes: Count = field(default_factory=Count)
    accepted: set[str] = field(default_factory=set)
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def attempt(self, client: httpx.Client, address: str, writes: bool) -> tuple[bool, bool]:
        """Whether it was answered as it should be, and whether it may be tried again: nothing was sent."""
        host, uuid = self.target.host("api"), secrets.token_hex(16)
        headers = {"Host": host, **account.bearer(self.provisioning if writes else self.fleet.token)}
        body = {"application": self.fleet.id, "uuid": uuid, "api_key": uuid, "device_type": "generic-amd64"}
        path, method = ("/device/register", "POST") if writes else ("/user/v1/whoami", "GET")
        try:
            answer = client.request(
                method,
                f"https://{address}{path}",
                headers=headers,
                json=body if writes else None,
                extensions={"sni_hostname": host},
            )
        except (httpx.ConnectError, httpx.ConnectTimeout):
            return False, True
        except httpx.HTTPError:
            return False, False
        good = answer.status_code == (201 if writes else 200)
        if good and writes:
            with self.lock:
                self.accepted.add(uuid)
        return good, False

    def client(self, number: int, *, writes: bool) -> None:
        """Requests at RATE, at one address after the other."""
        count, turn = self.writes if writes else self.reads, number
        limits = httpx.Limits(max_keepalive_connections=2 if number % 2 else 0)
        with httpx.Client(verify=self.target.trust, limits=limits, timeout=PATIENCE, trust_env=False) as client:
            while not self.over.wait(1 / RATE):
                turn += 1
                good, again = self.attempt(client, self.target.alternate(turn), writes)
                final = good or (again and self.attempt(client, self.target.alternate(turn + 1), writes)[0])
                with self.lock:
                    count.made += 1
                    count.first += not good
                    count.after += not final
                    count.failures += [] if final else [time.monotonic()]

    @contextmanager
    def running(self) -> Iterator[None]:
        """The clients run within."""
        clients = [
            threading.Thread(target=self.client, args=(number,), kwargs={"writes": writes})
            for writes, many in ((False, READERS), (True, WRITERS))
            for number in range(many)
        ]
        for client in clients:
            client.start()
        try:
            yield
        finally:
            self.over.set()
            for client in clients:
                client.join(4 * PATIENCE)


def run(project: Project, *words: str) -> None:
    """A command of ours, which must succeed."""
    done = tool(project, *words)
    if done.returncode:
        sys.exit(done.stderr)


def override(project: Project, services: tuple[str, ...]) -> None:
    """Change a variable of each of these services in the definitions."""
    lines = [f"  {name}: {{environment: {{BENCH_ROLLS: '{secrets.token_hex(4)}'}}}}\n" for name in services]
    project.override_file.write_text("services:\n" + "".join(lines))


def swarm_up(*services: str) -> Callable[[Project], None]:
    """Replace the services' tasks by a deploy."""

    def event(project: Project) -> None:
        override(project, services)
        run(project, "swarm-up")

    return event


def stack_deploy(project: Project) -> None:
    """Replace the tasks of all services as plain Docker does: the same stack in one `docker stack deploy`."""
    override(project, SERVICES)
    with tempfile.TemporaryDirectory() as scratch:
        run(project, "stack", "render", "-o", f"{scratch}/stack")
        directory = Path(scratch) / "stack"
        arguments = ("stack", "deploy", "--detach=false", "--resolve-image", "never", "--prune")
        default_engine(lab=True).docker(
            *arguments, "--compose-file", str(directory / "stack.yml"), STACK,
            env=deploy.deploy_environment(directory, STACK), timeout=900,
        )  # fmt: skip


def scale(project: Project) -> None:
    """One api task less, then as many as before."""
    for number in ("1", "2"):
        run(project, "swarm-scale", f"api={number}")


def kill_task(_: Project) -> None:
    """Kill the container of an api task, and wait until there are two again."""
    engine = default_engine(lab=True)
    with engine.client() as client:
        found = state.read_cluster(client, STACK)
    api = next(service for service in found.services if service.short_name == "api")
    task = next(each for each in found.tasks_of(api) if each.state == "running")
    node = next(each for each in engine.nodes if each.name == found.hostname(task.node_id))
    node.docker("kill", f"{STACK}_api.{task.slot}.{task.id}")
    time.sleep(20)


EVENTS: dict[str, Callable[[Project], Any]] = {
    **{f"roll {name}": swarm_up(name) for name in ("api", "registry", "vpn", "haproxy", "redis", "db")},
    "roll all in one swarm-up": swarm_up(*SERVICES),
    "scale api 2, 1, 2": scale,
    "kill an api task": kill_task,
    "roll all by docker stack deploy": stack_deploy,
}


def devices(target: Target, fleet: account.Application) -> list[str]:
    """The uuids of the fleet's devices."""
    path = f"/v7/device?$select=uuid&$filter=belongs_to__application eq {fleet.id}"
    answer = account.query(target, "GET", target.addresses[0], path, fleet.token)
    return [row["uuid"] for row in account.rows(answer)]


def provisioning_key(target: Target, fleet: account.Application) -> str:
    """The key with which the fleet's devices are registered."""
    path = f"/api-key/application/{fleet.id}/provisioning"
    return account.query(target, "POST", target.addresses[0], path, fleet.token).text.strip().strip('"')


@contextmanager
def demo() -> Iterator[tuple[Project, Target]]:
    """The demo on a lab of its own, which is removed at the end."""
    directory = paths.directory() / "demo"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    program = str(ROOT / "open-balena.sh")
    try:
        subprocess.run([program, "demo", "--keep"], check=True)
        project = Project(directory=directory)
        yield project, lab_target(project)
    finally:
        subprocess.run([program, "lab", "down"], check=False)


def write_results(script: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Replace the table of `script` in PAGE, and the machine it was measured on."""
    machine = f"{os.cpu_count()} CPUs, {platform.machine()}, Linux {platform.release()}"
    table = "".join(f"| {' | '.join(row)} |\n" for row in (head, ["---"] * len(head), *rows))
    text, begin = f"\n{machine}; three engines on that machine:\n\n{table}\n", BEGIN.format(script)
    page = PAGE.read_text(encoding="utf-8")
    pattern = re.escape(begin) + ".*?" + re.escape(END)
    write_atomic(PAGE, re.sub(pattern, lambda _: begin + text + END, page, count=1, flags=re.DOTALL))


def measured(name: str, project: Project, target: Target) -> tuple[str, ...]:
    """A row of the table."""
    with account.application(target) as fleet:
        load = Load(target, fleet, provisioning_key(target, fleet))
        with load.running():
            time.sleep(5)
            began = time.monotonic()
            EVENTS[name](project)
            took = time.monotonic() - began
            time.sleep(10)
        rows = devices(target, fleet)
    lost, twice = len(load.accepted - set(rows)), len(rows) - len(set(rows))
    failures = load.reads.failures + load.writes.failures
    window = f"{max(failures) - min(failures):.1f} s" if failures else "-"
    counts = [f"{each.first}/{each.after} of {each.made}" for each in (load.reads, load.writes)]
    return name, f"{took:.0f} s", *counts, window, f"{lost}/{twice} of {len(load.accepted)}"


def main() -> int:
    """Exit status 0."""
    asked = sys.argv[1:] or list(EVENTS)
    if unknown := set(asked) - EVENTS.keys():
        sys.exit(f"error: no such event: {', '.join(unknown)}: expected {', '.join(EVENTS)}")
    with demo() as (project, target):
        rows = []
        for name in asked:
            rows.append(measured(name, project, target))
            print(" | ".join(rows[-1]), flush=True)
            project.override_file.unlink(missing_ok=True)
            run(project, "swarm-up")
    if asked == list(EVENTS):
        head = ("event", "command", "reads: first/after", "writes: first/after", "failures within", "rows lost/twice")
        write_results("bench/rolls.py", head, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
