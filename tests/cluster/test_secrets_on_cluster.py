"""On the deployed stack no secret stands where somebody may read who is not to have it: in what the engines show of it,
in the services' and the engines' logs, in the arguments of any process while it is administered."""

import base64
import json
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import run

import pytest
from deployed_project import PATIENCE, STACK, command

from openbalena import settings
from openbalena.base.project import Project
from openbalena.docker import logs
from openbalena.lab import paths
from openbalena.operations.engines import default_engine
from openbalena.swarm import state

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

# None of the services that docs/certificates.md lists, which read secrets from their environment, runs in the demo.
LISTED = {"ui", "postgrest", "builder", "delta", "cloudflared", "cert-manager"}


def secrets(project: Project) -> dict[str, str]:
    """What nobody may see, by a name for it: tokens, and of each private key a line, plain and as base64."""
    found = dict(settings.read_unchecked(project).secrets)
    for file in project.pki.iterdir():
        for line in re.findall("BEGIN [A-Z ]*PRIVATE KEY-----\n(.+)\n", file.read_text()):
            found[f"the key in {file.name}"] = line
            # Base64 of three bytes is four letters: the line begins at one of three places.
            for n in range(3):
                found[f"{file.name} as base64, {n}"] = base64.b64encode(line[n:].encode()[: 60 + 3 * (n < 2)]).decode()
    assert len(found) > 12 and not [name for name, value in found.items() if len(value) < 20]
    return found


def standing(text: str, hidden: dict[str, str]) -> set[str]:
    """The names of the secrets that `text` has."""
    return {name for name, value in hidden.items() if value in text}


def everything_shown() -> Iterator[tuple[str, str]]:
    """What the Engine API tells of the stack and its parts, on every node, and the logs; each with where it is."""
    manager = default_engine(lab=True)
    with manager.client() as client:
        services = client.api.services()
        assert not {item["Spec"]["Name"].removeprefix(f"{STACK}_") for item in services} & LISTED
        yield "docker service inspect", json.dumps(services)
        yield "docker inspect of tasks", json.dumps(client.api.tasks())
        yield "docker node inspect", json.dumps(client.api.nodes())
        yield "docker secret inspect", json.dumps(client.api.secrets())
        for config in client.api.configs():
            yield f"docker config inspect {config['Spec']['Name']}", json.dumps(config)
            content = base64.b64decode(config["Spec"]["Data"]).decode(errors="replace")
            yield f"the content of config {config['Spec']['Name']}", content
        cluster = state.read_cluster(client, STACK)
    for service in cluster.services:
        lines, _ = logs.of_tasks(manager, [task.id for task in cluster.tasks_of(service)], "--timestamps")
        yield f"the logs of {service.short_name}", "\n".join(lines)
    for node in manager.nodes:
        with node.client() as client:
            yield (
                f"docker inspect of {node.name}'s containers",
                json.dumps([client.api.inspect_container(item["Id"]) for item in client.api.containers(all=True)]),
            )
            yield (
                f"docker events of {node.name}",
                "\n".join(str(event) for event in client.events(since=0, until=int(time.time()), decode=True)),
            )
            for image in client.api.images():
                yield f"docker history on {node.name}", json.dumps(client.api.history(image["Id"]))
    for log in (paths.directory() / "log").glob("*.log"):
        yield str(log), log.read_text(errors="replace")


def test_what_the_engines_show_and_log_holds_no_secret(deployed: Project) -> None:
    hidden, length = secrets(deployed), dict[str, int]()
    for where, text in everything_shown():
        assert standing(text, hidden) == set(), where
        length[where] = len(text)
    assert all(length[f"the logs of {name}"] for name in ("api", "db", "haproxy", "registry", "vpn"))
    assert standing((deployed.rendered / "secrets" / "api.env").read_text(), hidden), "what it looks for is in use"


class ProcessList:
    """The arguments of every process of this machine, and so of all the lab's containers, read again and again."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._over = threading.Event()

    def read(self) -> None:
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                self.seen.add(process.read_bytes())
            except OSError:  # it has ended
                continue

    def watch(self) -> None:
        while not self._over.wait(0.05):
            self.read()

    @contextmanager
    def watched(self) -> Iterator[None]:
        watcher = threading.Thread(target=self.watch)
        watcher.start()
        try:
            yield
        finally:
            self._over.set()
            watcher.join(10)


# PEP 578: tells of every program the process starts before it is started, however short it lives.
HEARD = """
import sys
words = open(sys.argv.pop(1), "a")
def hear(event, arguments):
    if event in ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system"):
        print(arguments[:2], file=words, flush=True)
sys.addaudithook(hear)
from openbalena.cli.main import main
sys.exit(main())
"""


def test_no_process_has_a_secret_among_its_arguments(deployed: Project, tmp_path: Path) -> None:
    """A token is rotated and deployed, a certificate renewed, all of it verified, and fetched by another machine."""
    hidden, heard, second = secrets(deployed), tmp_path / "heard", tmp_path / "second"
    second.mkdir()
    processes = ProcessList()
    said = ""
    with processes.watched():
        for words, project in (
            (("secrets", "rotate", "REGISTRY2_SECRETKEY", "--yes"), deployed),
            (("swarm-up",), deployed),
            (("pki", "renew"), deployed),
            (("pki", "sync"), deployed),
            (("verify",), deployed),
            (("storage", "show"), deployed),
            (("swarm-logs", "registry"), deployed),
            (("swarm-status",), deployed),
            (("config", "--from-cluster"), Project(directory=second)),
        ):
            done = run(
                [sys.executable, "-c", HEARD, str(heard), *command(project, *words)[1:]],
                capture_output=True, text=True, timeout=PATIENCE, check=False,
            )  # fmt: skip
            assert done.returncode == 0, (words, done.stdout, done.stderr)
            said += done.stdout + done.stderr
    hidden = {f"{name} as it was": value for name, value in hidden.items()} | secrets(deployed)
    arguments = b"\n".join(processes.seen).replace(b"\0", b" ").decode(errors="replace")
    started = heard.read_text()
    assert standing(arguments, hidden) == set()
    assert standing(started, hidden) == set()
    assert standing(said, hidden) == set()
    # Both did see: a child of ours, and a process inside a container.
    assert "'stack', 'deploy'" in started and "openvpn" in arguments and "postgres" in arguments
