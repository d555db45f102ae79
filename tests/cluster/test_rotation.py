"""Tokens are rotated, and more than one machine administers the cluster."""

import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import acceptance
import pytest
from deployed_clients import Load
from deployed_project import STACK, running, tool
from deployed_project import command as command_line
from lab_target import lab_target
from waiting import eventually

from openbalena import verify
from openbalena.base.errors import OperationError
from openbalena.base.files import write_atomic
from openbalena.base.names import LOCK_CONFIG
from openbalena.base.project import Project
from openbalena.cli.console import Console
from openbalena.compose import dotenv
from openbalena.docker import engine, logs
from openbalena.operations.engines import default_engine
from openbalena.operations.rotate_ca import RotateCaOptions, rotate_ca
from openbalena.operations.workspace import Workspace
from openbalena.pki import archive, database_login
from openbalena.swarm import service_update, settings_store, state
from openbalena.verify import account

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


def secrets() -> set[str]:
    with default_engine(lab=True).client() as client:
        return {secret.name for secret in client.secrets.list() if secret.name.startswith(f"{STACK}_")}


def value(project: Project, name: str) -> str:
    return dotenv.read_file(project.env_file, {}).values[name]


def service(name: str, cluster: state.Cluster) -> state.SwarmService:
    found = service_update.find_service(cluster, name)
    assert found
    return found


def failed(project: Project) -> list[str]:
    results = verify.run_checks(verify.CHECKS, lab_target(project), lambda _: None)
    return [result.line() for result in results if result.outcome != acceptance.GREEN[result.check.name]]


@pytest.mark.parametrize(
    ("name", "services"),
    [("REGISTRY2_SECRETKEY", {"registry"}), ("VPN_SERVICE_API_KEY", {"api", "vpn"})],
)
def test_a_rotated_token_rolls_what_uses_it_and_nothing_else(name: str, services: set[str], deployed: Project) -> None:
    before, versions, old = running(), secrets(), value(deployed, name)
    done = tool(deployed, "secrets", "rotate", name, "--yes")
    assert done.returncode == 0 and ", ".join(sorted(services)) in done.stdout
    assert value(deployed, name) != old and value(deployed, name) not in done.stdout + done.stderr
    assert running() == before and secrets() == versions, "nothing happens before the deploy"
    done = tool(deployed, "swarm-up")
    assert done.returncode == 0, done.stdout + done.stderr
    now = running()
    assert {service for service in now if now[service] != before[service]} == services
    assert all(not now[service] & before[service] for service in services)
    gone = {name.rpartition("-")[0].removeprefix(f"{STACK}_") for name in versions - secrets()}
    assert "settings" in gone and not gone & {f"{service}-env" for service in services}, "a rollback needs the old ones"
    assert failed(deployed) == []


def asked_of_redis(*lines: str) -> list[str]:
    """What Redis answers a connection that sends these, in its own container, by standard input."""
    with default_engine(lab=True).client() as client:
        cluster = state.read_cluster(client, STACK)
    task = next(task for task in cluster.tasks_of(service("redis", cluster)) if task.state == "running")
    node = next(node for node in default_engine(lab=True).nodes if node.name == cluster.hostname(task.node_id))
    done = subprocess.run(
        node.command("exec", "--interactive", f"{STACK}_redis.{task.slot}.{task.id}", "redis-cli"),
        env=node.process_environment(),
        input="".join(f"{line}\n" for line in lines),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [line for line in done.stdout.splitlines() if line]


def logged(name: str, since: str) -> list[str]:
    """What all tasks of the service logged since then, those that are gone too."""
    with default_engine(lab=True).client() as client:
        cluster = state.read_cluster(client, STACK)
    ids = [task.id for task in cluster.tasks_of(service(name, cluster))]
    return logs.of_tasks(default_engine(lab=True), ids, "--since", since)[0]


def test_redis_asks_for_a_password_and_gives_the_registry_its_cache_alone(deployed: Project) -> None:
    api, registry = (value(deployed, name) for name in ("REDIS_PASSWORD", "REGISTRY2_CACHE_PASSWORD"))
    queue = "device-online-state:expired:Q"
    assert asked_of_redis(f"HGET {queue} vt")[0].startswith("NOAUTH")
    assert asked_of_redis(f"AUTH default {api}", f"HGET {queue} vt", "CONFIG GET dir")[:2] == ["OK", "30"]
    assert asked_of_redis(f"AUTH default {api}", "CONFIG GET dir")[1].startswith("NOPERM")
    assert asked_of_redis(f"AUTH default {registry}")[0].startswith("WRONGPASS")
    # What it is for: `verify` pushed images, and the registry kept what it found of them.
    kept = asked_of_redis(f"AUTH default {api}", "SELECT 1", "KEYS repository::*")[2:]
    assert kept, "the registry uses its cache"
    found = asked_of_redis(
        f"AUTH registry {registry}", f"HGET {queue} vt", "SELECT 1", "KEYS *", "SISMEMBER blobs::a b"
    )
    assert found[0] == "OK" and found[1].startswith("NOPERM") and found[3].startswith("NOPERM"), found
    assert asked_of_redis("AUTH health x", "PING", f"HGET {queue} vt")[1:2] == ["PONG"]
    assert asked_of_redis("AUTH health x", f"HGET {queue} vt")[1].startswith("NOPERM")


def test_no_task_is_refused_by_redis_while_its_password_is_rotated(deployed: Project) -> None:
    """Of two runs that replace it the first is killed when the api's tasks begin to be replaced."""
    before, old, since = running(), value(deployed, "REDIS_PASSWORD"), datetime.now(UTC).isoformat()
    kept = asked_of_redis(f"AUTH default {old}", "HGET device-online-state:expired:Q vt")
    assert tool(deployed, "secrets", "rotate", "REDIS_PASSWORD", "--yes").returncode == 0
    with subprocess.Popen(
        command_line(deployed, "swarm-up"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as killed:
        assert killed.stdout
        assert any("redis first: it verifies tokens" in line for line in killed.stdout)
        assert any(line.startswith("deploying ") for line in killed.stdout)
        killed.kill()
    new = value(deployed, "REDIS_PASSWORD")
    assert new != old == value(deployed, "REDIS_PASSWORD_PREVIOUS"), "what was under way is not forgotten"
    assert asked_of_redis(f"AUTH default {old}")[0] == asked_of_redis(f"AUTH default {new}")[0] == "OK"
    done = tool(deployed, "secrets", "rotate", "REDIS_PASSWORD", "--yes")
    assert done.returncode == 2 and "REDIS_PASSWORD_PREVIOUS is set" in done.stderr

    done = tool(deployed, "swarm-up")
    assert done.returncode == 0, done.stdout + done.stderr
    assert value(deployed, "REDIS_PASSWORD_PREVIOUS") == "" and old not in deployed.env_file.read_text()
    assert asked_of_redis(f"AUTH default {old}")[0].startswith("WRONGPASS")
    assert asked_of_redis(f"AUTH default {new}", "HGET device-online-state:expired:Q vt") == kept, "the queue is there"
    now = running()
    assert {name for name in now if now[name] != before[name]} == {"api", "redis"}
    refused = ("WRONGPASS", "NOAUTH", "invalid username-password pair", "Authentication required")
    for name in ("api", "registry"):
        assert [line for line in logged(name, since) if any(word in line for word in refused)] == []
    assert failed(deployed) == []


def databases() -> list[tuple[engine.Engine, str]]:
    """The node and the container of the database, where it is healthy."""
    words = ("ps", "--quiet", "--filter", f"name={STACK}_db.", "--filter", "health=healthy")
    return [(node, name) for node in default_engine(lab=True).nodes if (name := node.docker(*words).strip())]


def lets_in(role: str, password: str) -> bool:
    """Whether the database takes the password over the network, under its service's name."""
    ((node, name),) = databases()
    words = ("psql", "-h", "db", "-U", role, "-d", "resin", "-qtAc", "SELECT current_user")
    try:
        asked = node.docker("exec", "--env", f"PGPASSWORD={password}", name, *words)
    except OperationError as error:
        assert "FATAL" in str(error), error
        return False
    assert asked.strip() == "docker", "it acts as the owner, whose tables these are"
    return True


def test_the_databases_password_is_rotated_and_no_request_fails(deployed: Project) -> None:
    role, password = value(deployed, "DB_USER"), value(deployed, "DB_PASSWORD")
    assert lets_in(role, password) and not lets_in("docker", "docker")
    before, outside = running(), lab_target(deployed)
    token = account.log_in(outside, outside.addresses[0])
    load = Load(outside, "/v7/application?$top=1&$select=id", token)
    with load.running():
        done = tool(deployed, "secrets", "rotate", "DB_PASSWORD", "--yes")
        assert done.returncode == 0 and "swarm-up, which updates api" in done.stdout, done.stdout + done.stderr
        following, new = value(deployed, "DB_USER"), value(deployed, "DB_PASSWORD")
        assert {role, following} == set(database_login.ROLES) and new not in done.stdout + done.stderr
        assert lets_in(role, password) and lets_in(following, new) and running() == before
        done = tool(deployed, "secrets", "rotate", "DB_PASSWORD", "--yes")
        assert done.returncode == 1 and "the last rotation of DB_PASSWORD has not been deployed" in done.stderr
        assert value(deployed, "DB_PASSWORD") == new and lets_in(role, password)
        done = tool(deployed, "swarm-up")
        assert done.returncode == 0, done.stdout + done.stderr
    assert load.failed == [] and load.done > 100
    now = running()
    assert {service for service in now if now[service] != before[service]} == {"api"}
    assert lets_in(following, new) and not lets_in(role, password)
    assert failed(deployed) == []


def test_a_rotation_that_was_killed_is_finished_and_an_older_database_gets_the_role(deployed: Project) -> None:
    """It is killed after the database has the role and before .env names it. The older database knows no role."""
    before, role = deployed.env_file.read_bytes(), value(deployed, "DB_USER")
    assert tool(deployed, "secrets", "rotate", "DB_PASSWORD", "--yes").returncode == 0
    write_atomic(deployed.env_file, before, 0o600)
    assert tool(deployed, "secrets", "rotate", "DB_PASSWORD", "--yes").returncode == 0
    following, new = value(deployed, "DB_USER"), value(deployed, "DB_PASSWORD")
    assert following != role and lets_in(following, new)
    ((node, name),) = databases()
    older = f"DROP ROLE {role}; DROP ROLE {following}; ALTER ROLE docker PASSWORD 'docker'"
    node.docker("exec", name, "psql", "-U", "docker", "-d", "resin", "-qc", older)
    node.docker("kill", name)
    eventually("the database's next task", databases)
    done = tool(deployed, "swarm-up")
    assert done.returncode == 0, done.stdout + done.stderr
    assert lets_in(following, new) and not lets_in("docker", "docker")


def test_rotating_what_is_no_token_names_those_that_are(deployed: Project) -> None:
    done = tool(deployed, "secrets", "rotate", "DNS_TLD", "--yes")
    assert done.returncode == 2 and "unknown token DNS_TLD" in done.stderr and "VPN_GUEST_API_KEY" in done.stderr


def test_another_machine_gets_the_settings_before_it_may_deploy(deployed: Project, tmp_path: Path) -> None:
    """One without the settings is refused, gets them, and then the first one must not undo what the second one did."""
    before, versions = running(), secrets()
    second = Project(directory=tmp_path)
    assert tool(second, "config", "--dns-tld", "openbalena.test", "--yes").returncode == 0
    for command in ("swarm-up", "pki"):
        done = tool(second, command, *(["sync"] if command == "pki" else []))
        assert done.returncode == 1 and "with a different CA and different tokens" in done.stderr, done.stderr
        assert "config --from-cluster" in done.stderr
    assert running() == before and secrets() == versions

    done = tool(second, "config", "--from-cluster", "--yes")
    assert done.returncode == 0, done.stderr
    assert second.env_file.read_text() == deployed.env_file.read_text()
    assert second.env_file.stat().st_mode & 0o777 == 0o600 and second.pki.stat().st_mode & 0o777 == 0o700
    assert {p.name: p.read_bytes() for p in second.pki.iterdir()} == {
        p.name: p.read_bytes() for p in deployed.pki.iterdir()
    }
    assert len(list(tmp_path.glob(".env.*"))) == len(list(tmp_path.glob("pki.*"))) == 1, "what was there is kept"
    done = tool(second, "swarm-up")
    assert done.returncode == 0, done.stdout + done.stderr
    assert running() == before

    assert tool(second, "secrets", "rotate", "HAPROXY_PASSWORD", "--yes").returncode == 0
    assert tool(second, "swarm-up").returncode == 0
    done = tool(deployed, "swarm-up")
    assert done.returncode == 1 and "changed since the last deploy from this machine" in done.stderr
    now = running()
    assert {service for service in now if now[service] != before[service]} == {"haproxy"}
    assert tool(deployed, "config", "--from-cluster", "--yes").returncode == 0
    for path in [*deployed.directory.glob(".env.*"), *deployed.directory.glob("pki.*")]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert tool(deployed, "swarm-up").returncode == 0
    assert running() == now
    assert failed(deployed) == []


def test_no_secret_is_left_in_what_the_one_shot_task_printed(deployed: Project, tmp_path: Path) -> None:
    second = Project(directory=tmp_path)
    done = tool(second, "config", "--from-cluster", OPEN_BALENA_DEBUG="1")
    assert done.returncode == 0, done.stderr
    assert value(deployed, "JSON_WEB_TOKEN_SECRET") not in done.stdout + done.stderr
    assert "openbalena-read" not in default_engine(lab=True).docker("service", "ls")


@pytest.fixture
def left(deployed: Project) -> Iterator[str]:
    """The id of a lock that a deploy from another machine left."""
    labels = {"owner": "anna@laptop", "purpose": "swarm-up", "since": "2026-11-23T10:00:00+00:00", "pid": "77"}
    with default_engine(lab=True).client() as client:
        yield client.configs.create(name=LOCK_CONFIG, data=b"x", labels={**labels, "machine": "another"}).id
        for config in client.configs.list(filters={"name": LOCK_CONFIG}):
            config.remove()


def test_a_lock_that_another_machine_left_is_named_and_taken_over(deployed: Project, left: str) -> None:
    before = running()
    done = tool(deployed, "swarm-up")
    assert done.returncode == 1 and "anna@laptop has been running swarm-up (process 77)" in done.stderr
    assert f"--take-over {left}" in done.stderr
    done = tool(deployed, "swarm-up", "--take-over", left[:12])
    assert done.returncode == 1 and "anna@laptop" in done.stderr, "only the lock that was named, by its whole id"
    done = tool(deployed, "swarm-up", "--take-over", left)
    assert done.returncode == 0, done.stderr
    assert running() == before
    assert LOCK_CONFIG not in default_engine(lab=True).docker("config", "ls")


def test_the_settings_are_fetched_beside_no_deploy(deployed: Project, left: str, tmp_path: Path) -> None:
    second = Project(directory=tmp_path)
    done = tool(second, "config", "--from-cluster")
    assert done.returncode == 1 and "anna@laptop has been running swarm-up" in done.stderr, done.stderr
    assert not second.env_file.exists()
    done = tool(second, "config", "--from-cluster", "--take-over", left)
    assert done.returncode == 0, done.stderr
    assert second.env_file.read_text() == deployed.env_file.read_text()


def test_no_phase_begins_where_another_machine_deployed_while_it_was_asked_for(
    deployed: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in deployed.pki.iterdir()}
    authority = archive.fingerprints(deployed.pki, {})["ca"]
    with default_engine(lab=True).client() as client:

        def agreed_later(*_: object, **__: object) -> bool:
            settings_store.save(
                client, STACK, b"others", {"ca": authority, "tokens": "others", "later": ""}, "anna@laptop"
            )
            return True

        monkeypatch.setattr(Console, "confirm", agreed_later)
        try:
            with pytest.raises(OperationError, match="anna@laptop deployed this stack with different tokens"):
                rotate_ca(RotateCaOptions(), Workspace(deployed, lab=True), Console())
        finally:
            for secret in client.secrets.list(filters={"label": "openbalena.settings.owner=anna@laptop"}):
                secret.remove()
    assert {path.name: path.read_bytes() for path in deployed.pki.iterdir()} == before
