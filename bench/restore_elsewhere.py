"""Destroy the demo with its volumes and restore it onto another node, from a machine that knows only the repository.

    sudo .venv.dev/bin/python bench/restore_elsewhere.py

Deploys the demo on a lab of its own, and removes it. The restore is killed twice on the way. The long form of
tests/compose/test_standalone_restore.py; takes about 8 minutes. Exit status 1 if a row or an object is missing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT / "src"), str(ROOT / "tests" / "shared")]

from bench_page import deployed_demo  # noqa: E402
from deployed_project import STACK, command, tool  # noqa: E402
from waiting import answer  # noqa: E402

from openbalena.base.names import BACKUP_SECRETS, backup_network, data_label  # noqa: E402
from openbalena.base.project import Project  # noqa: E402
from openbalena.docker.engine import Engine  # noqa: E402
from openbalena.operations.engines import default_engine  # noqa: E402

DIRECTORY = "/srv/openbalena-restored"
REPOSITORY = {"BACKUP_REPOSITORY": DIRECTORY, "BACKUP_NODE": "node1", "BACKUP_PASSWORD": "a-password-of-the-bench"}


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


def done(project: Project, *words: str) -> str:
    """What a command prints that has to succeed."""
    ended = tool(project, *words)
    if ended.returncode:
        sys.exit(ended.stdout + ended.stderr)
    return ended.stdout


@contextmanager
def repository() -> Iterator[None]:
    """The settings of the repository, as variables."""
    os.environ.update(REPOSITORY)
    try:
        yield
    finally:
        for name in REPOSITORY:
            del os.environ[name]


def save(project: Project) -> tuple[tuple[str, str], str]:
    """What the deployment had, and on which node, after a backup into a directory of the first one; nothing is left."""
    with repository():
        done(project, "swarm-build")
        # The engine creates a directory that is to be mounted.
        in_repository(default_engine(True).nodes[0], "true")
        statement = "CREATE TABLE restored AS SELECT n, md5(n::text) AS word FROM generate_series(1, 50000) n"
        inside(project, "db-data", "db", "psql", "-U", "docker", "-d", "resin", "-c", statement)
        write = "mkdir /export/registry-data/of-the-bench; for n in $(seq 200); do"
        write += " head -c 20000 /dev/urandom >/export/registry-data/of-the-bench/$n; done"
        inside(project, "s3-data", "s3", "sh", "-c", write)
        before, node = content(project), place(project, "db-data").name
        done(project, "backup", "create")
    done(project, "swarm-down", "--volumes", "--yes")
    return before, node


def in_repository(home: Engine, script: str) -> None:
    words = ("run", "--rm", "--volume", f"{DIRECTORY}:/repository", "--entrypoint", "/bin/sh")
    home.docker(*words, "openbalena-lab/backup:latest", "-c", script)


def move_labels(home: str) -> None:
    """As on a new cluster, another node gets the data."""
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
        if not any(line.startswith(step) for line in killed.stderr or ()):
            sys.exit(f"restore did not print '{step}'")
        killed.kill()


def restore(deployed: Project, new: Project, home: str, before: tuple[str, str]) -> list[str]:
    """Restore onto `home` from a directory with nothing but the repository's settings; what is wrong afterwards."""
    new.env_file.write_text("".join(f"{name}={value}\n" for name, value in REPOSITORY.items()))
    new.env_file.chmod(0o600)
    done(new, "restore", "--settings")
    names = ("ca-0-key.pem", "api.key")
    wrong = [name for name in names if (new.pki / name).read_bytes() != (deployed.pki / name).read_bytes()]
    move_labels(home)
    for step in ("restoring s3-data", "restoring the database"):
        interrupt(new, step)
    # The checks push an image, after which the store has more than was saved.
    print(done(new, "restore", "--no-verify"), flush=True)
    if content(new) != before:
        wrong.append("rows or objects differ")
    if "its database was restored before" not in done(new, "restore"):
        wrong.append("it was restored twice")
    with default_engine(True).client() as client:
        wrong += sorted({each.name for each in client.secrets.list()} & {*BACKUP_SECRETS})
        wrong += [each.name for each in client.networks.list(names=[backup_network(STACK)])]
    return wrong


def main() -> int:
    """Exit status 0 if everything is there again."""
    with deployed_demo() as deployed, tempfile.TemporaryDirectory() as directory:
        before, node = save(deployed)
        home, new = "node3" if node == "node2" else "node2", Project(directory=Path(directory))
        wrong = restore(deployed, new, home, before)
        wrong += [volume for volume in ("db-data", "s3-data") if place(new, volume).name != home]
    print("\n".join(f"error: {each}" for each in wrong) or f"all rows and objects are there again, on {home}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
