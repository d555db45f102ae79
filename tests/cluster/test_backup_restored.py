"""The deployment is destroyed with its volumes and made again from a backup, on other nodes, with a machine that knows
only the repository and its password; the command is killed twice on the way. Every row and every object is there again.
The expected time is two minutes, most of it for the second start of the services."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployed_project import STACK, command, tool
from waiting import answer

from openbalena.base.names import BACKUP_SECRETS, backup_network, data_label
from openbalena.base.project import Project
from openbalena.docker.engine import Engine
from openbalena.operations.engines import default_engine

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
DIRECTORY = "/srv/openbalena-restored"
NEW_MACHINE = f"BACKUP_REPOSITORY={DIRECTORY}\nBACKUP_NODE=node1\nBACKUP_PASSWORD=a-password-of-the-test\n"


def place(project: Project, volume: str) -> Engine:
    """The node that has a volume."""
    shown = json.loads(tool(project, "storage", "show", "--json").stdout)["volumes"]
    home = next(each["node"] for each in shown if each["volume"] == volume)
    return next(each for each in default_engine(True).nodes if each.name == home)


def inside(project: Project, volume: str, service: str, *words: str) -> str:
    """What a command says in the container of a service."""
    engine = place(project, volume)

    def ask() -> str:
        name = engine.docker("ps", "--quiet", "--filter", f"name={STACK}_{service}.", "--filter", "health=healthy")
        return engine.docker("exec", name.strip(), *words).strip()

    return answer(ask)


def content(project: Project) -> tuple[str, str]:
    """A sum of all rows of a table with 50,000, and of every object."""
    statement = "SELECT count(*), md5(string_agg(word, ',' ORDER BY n)) FROM restored"
    rows = inside(project, "db-data", "db", "psql", "-U", "docker", "-d", "resin", "-qtAc", statement)
    sums = "cd /export && find . -type f ! -name '.openbalena*' | sort | xargs sha256sum"
    return rows, inside(project, "s3-data", "s3", "sh", "-c", sums)


@pytest.fixture
def saved(deployed: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[tuple[str, str], str]]:
    """What the deployment had, and on which node, after a backup into a directory of the first one; nothing is left."""
    for name, _, value in (line.partition("=") for line in NEW_MACHINE.splitlines()):
        monkeypatch.setenv(name, value)
    built = tool(deployed, "swarm-build")
    assert built.returncode == 0, built.stdout + built.stderr
    home = default_engine(True).nodes[0]
    # The engine creates a directory that is to be mounted.
    in_repository(home, "true")
    statement = "CREATE TABLE restored AS SELECT n, md5(n::text) AS word FROM generate_series(1, 50000) n"
    inside(deployed, "db-data", "db", "psql", "-U", "docker", "-d", "resin", "-c", statement)
    write = "mkdir /export/registry-data/of-the-test; for n in $(seq 200); do"
    write += " head -c 20000 /dev/urandom >/export/registry-data/of-the-test/$n; done"
    inside(deployed, "s3-data", "s3", "sh", "-c", write)
    before, node = content(deployed), place(deployed, "db-data").name
    made = tool(deployed, "backup", "create")
    assert made.returncode == 0, made.stderr
    for line in NEW_MACHINE.splitlines():
        monkeypatch.delenv(line.partition("=")[0])
    down = tool(deployed, "swarm-down", "--volumes", "--yes")
    assert down.returncode == 0, down.stdout + down.stderr
    yield before, node
    inside(deployed, "db-data", "db", "psql", "-U", "docker", "-d", "resin", "-c", "DROP TABLE IF EXISTS restored")
    in_repository(home, "rm -rf /repository/*")


def in_repository(home: Engine, script: str) -> None:
    words = ("run", "--rm", "--volume", f"{DIRECTORY}:/repository", "--entrypoint", "/bin/sh")
    home.docker(*words, "openbalena-lab/backup:latest", "-c", script)


def move_labels(home: str) -> None:
    """As on a new cluster, another node gets the data: one node, as later tests that lose the others expect."""
    with default_engine(True).client() as client:
        for node in client.nodes.list():
            name, labels = node.attrs["Description"]["Hostname"], node.attrs["Spec"].get("Labels") or {}
            kept = {each: value for each, value in labels.items() if not each.startswith(data_label(""))}
            moved = ("db-data", "pki-data", "redis-data", "s3-data") if name == home else ()
            labels = kept | {data_label(volume): "true" for volume in moved}
            client.api.update_node(node.id, node.version, {**node.attrs["Spec"], "Labels": labels})


def interrupt(project: Project, step: str) -> None:
    """Kill a restore at this step."""
    with subprocess.Popen(
        command(project, "restore"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as killed:
        assert killed.stderr is not None
        assert any(line.startswith(step) for line in killed.stderr)
        killed.kill()


def test_everything_is_there_again_after_all_is_lost(
    deployed: Project, saved: tuple[tuple[str, str], str], tmp_path: Path
) -> None:
    new, (before, node) = Project(directory=tmp_path), saved
    home = "node3" if node == "node2" else "node2"
    new.env_file.write_text(NEW_MACHINE)
    new.env_file.chmod(0o600)
    settings = tool(new, "restore", "--settings")
    assert settings.returncode == 0, settings.stdout + settings.stderr
    for name in ("ca-0-key.pem", "api.key"):
        assert (new.pki / name).read_bytes() == (deployed.pki / name).read_bytes()
    move_labels(home)
    for step in ("restoring s3-data", "restoring the database"):
        interrupt(new, step)
    done = tool(new, "restore")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is restored and its services run" in done.stdout
    assert content(new) == before
    assert place(new, "db-data").name == place(new, "s3-data").name == home
    again = tool(new, "restore")
    assert again.returncode == 0 and "its database was restored before" in again.stdout, again.stderr
    with default_engine(True).client() as client:
        assert not {each.name for each in client.secrets.list()} & {*BACKUP_SECRETS}
        assert not client.networks.list(names=[backup_network(STACK)])
