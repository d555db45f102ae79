"""The api's stand-in on a real engine: what it does that a deployment has to live with, as the real api does."""

import base64
import json
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from waiting import answer, eventually

from lab.api.standin import migrations
from openbalena import compose
from openbalena.base.errors import OperationError
from openbalena.base.project import ROOT
from openbalena.docker.engine import Engine
from openbalena.lab import Endpoint, base
from openbalena.operations.engines import default_engine
from openbalena.pki import keys
from openbalena.pki.keys import key_id
from openbalena.swarm import api_schema

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

_OUTSIDE = ("api.github.com", "s3.amazonaws.com", "bucket.s3.amazonaws.com")
_SUBNET = "192.0.2"  # for documentation, so no other network has it (RFC 5737)
_QUEUE = "device-online-state:expired:Q"


class World:
    """A network with a database, a Redis and the outside, and the apis that a test starts there."""

    db: str
    redis: str

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.name = f"test-api-{secrets.token_hex(4)}"
        self.started: list[str] = []

    def docker(self, *words: str) -> str:
        return self.engine.docker(*words, timeout=120)

    def run(self, service: str, *options: str, command: tuple[str, ...] = ()) -> str:
        name = f"{self.name}-{service}-{len(self.started)}"
        self.started.append(name)
        image = f"openbalena-lab/test-{service}"
        found = ("--network", self.name, "--network-alias", service)
        self.docker("run", "--detach", "--name", name, *found, *options, image, *command)
        return name

    def api(self, *options: str, command: tuple[str, ...] = (), **variables: str) -> str:
        key = keys.new_key()
        values = {
            "TLD": "t.example",
            "DB_HOST": "db",
            "DB_PORT": "5432",
            "DB_USER": "docker",
            "DB_PASSWORD": "docker",
            "REDIS_HOST": "redis:6379",
            "SUPERUSER_EMAIL": "admin@t.example",
            "SUPERUSER_PASSWORD": "password",
            "DEVICE_CONFIG_OPENVPN_CA": "Cg==",
            "TOKEN_AUTH_CERT_KEY": base64.b64encode(keys.key_pem(key)).decode(),
            "TOKEN_AUTH_CERT_KID": base64.b64encode(key_id(key.public_key()).encode()).decode(),
            "TOKEN_AUTH_CERT_PUB": "Cg==",
            "TOKEN_AUTH_JWT_ALGO": "ES256",
            "VPN_PORT": "443",
            "IMAGE_STORAGE_ENDPOINT": "s3.amazonaws.com",
            "IMAGE_STORAGE_BUCKET": "bucket",
            "PRODUCTION_MODE": "true",
            "STAND_IN_CPUS": "1",
        } | variables
        environment = [word for name, value in values.items() for word in ("--env", f"{name}={value}")]
        return self.run("api", *environment, *options, command=command)

    def ask(self, api: str, *words: str) -> str:
        """What curl says within the container."""
        return answer(lambda: self.docker("exec", api, "curl", "--silent", "--show-error", "--fail", *words))

    def sql(self, statement: str) -> str:
        command = ("psql", "-h", "127.0.0.1", "-U", "docker", "-d", "resin", "-tAc", statement)
        return answer(lambda: self.docker("exec", "--env", "PGPASSWORD=docker", self.db, *command)).strip()

    def says(self, container: str, text: str) -> None:
        """Wait until its log has `text`."""
        eventually(f"{text!r} in the log of {container}", lambda: text in self.log(container))

    def log(self, container: str) -> str:
        return self.docker("logs", container)

    def ended(self, container: str) -> str:
        """The status it ends with."""
        return self.docker("wait", container).strip()


@pytest.fixture(scope="module")
def engine(lab: Endpoint) -> Engine:
    found = default_engine(lab=True)
    base.ensure_base_image(found)
    for service in ("api", "db", "redis", "internet"):
        argument = f"BASE={base.IMAGE}"
        name = f"openbalena-lab/test-{service}"
        found.docker("build", "--tag", name, "--build-arg", argument, str(ROOT / "lab" / service), timeout=120)
    return found


@pytest.fixture
def world(engine: Engine) -> Iterator[World]:
    made = World(engine)
    made.docker("network", "create", "--subnet", f"{_SUBNET}.0/24", made.name)
    try:
        made.db, made.redis = made.run("db"), made.run("redis")
        made.sql("SELECT 1")
        yield made
    finally:
        for name in made.started:
            made.docker("rm", "--force", "--volumes", name)
        made.docker("network", "rm", made.name)


def internet(world: World) -> str:
    aliases = [word for name in _OUTSIDE for word in ("--network-alias", name)]
    started = world.run("internet", "--env", "BUCKET=bucket", *aliases)
    answer(lambda: world.docker("exec", started, "curl", "--silent", "--fail", "http://localhost/ping"))
    return started


def test_only_what_the_template_names_reaches_the_process(world: World) -> None:
    api = world.api(NUM_WORKERS="1", RATE_LIMIT_FACTOR="1000", STAND_IN_CPUS="3")
    world.says(api, "Forking 3 workers")
    found = world.docker("exec", api, "sh", "-c", "tr '\\0' '\\n' </proc/$(pgrep -of standin)/environ").splitlines()
    assert {"NUM_WORKERS=", "DB_POOL_SIZE=60", "PORT=80", "API_HOST=api.t.example"} <= set(found)
    assert not [line for line in found if line.startswith("RATE_LIMIT_FACTOR=")]


def test_a_command_may_append_to_what_the_template_rendered(world: World) -> None:
    script = "echo NUM_WORKERS=1 >>/usr/src/app/config/env && exec /usr/src/app/entry.sh"
    api = world.api(STAND_IN_CPUS="3", command=("bash", "-c", script))
    assert world.ask(api, "http://localhost/ping") == "OK"
    assert "Forking" not in world.log(api)


def test_a_worker_that_dies_is_replaced_and_one_alone_ends_the_container(world: World) -> None:
    api = world.api(STAND_IN_CPUS="2")
    world.says(api, "Server listening")
    world.docker("exec", api, "pkill", "-9", "-n", "-f", "standin")
    world.says(api, "died, replacing it")
    alone = world.api()
    world.says(alone, "Server listening")
    with suppress(OperationError):  # pkill dies with the container, if that ends before it
        world.docker("exec", alone, "pkill", "-9", "-f", "standin")
    assert world.ended(alone) == "137"


def test_a_worker_that_lacks_a_secret_dies_again_and_again_below_a_living_primary(world: World) -> None:
    api = world.api(STAND_IN_CPUS="2", JSON_WEB_TOKEN_SECRET="")
    world.says(api, "Worker 3 died, replacing it")
    assert "not set: JSON_WEB_TOKEN_SECRET\n" in world.log(api)


def test_workers_for_many_cpus_do_not_fit_a_limit_for_one(world: World) -> None:
    api = world.api("--memory", "400m", STAND_IN_CPUS="8", STAND_IN_WORKER_MEMORY="100")
    world.says(api, "Worker 1")
    assert json.loads(world.docker("inspect", "--format", "{{json .State.OOMKilled}}", api))


def defined(service: str) -> dict[str, Any]:
    """A service of docker-compose.yml."""
    definitions = ROOT / "docker-compose.yml"
    required = dict.fromkeys(re.findall(r"\${(\w+):\?", definitions.read_text()), "x")
    found: dict[str, Any] = compose.plain(compose.load([definitions], environment=required).services[service])
    return found


def test_the_definitions_hold_the_workers_of_many_cpus_to_their_memory(world: World) -> None:
    ours = defined("api")
    limit = ours["deploy"]["resources"]["limits"]["memory"]
    real: dict[str, Any] = {"STAND_IN_CPUS": "8", "STAND_IN_WORKER_MEMORY": "380"}
    by_default = world.api("--memory", limit, **real)
    world.says(by_default, "Worker 1")
    assert json.loads(world.docker("inspect", "--format", "{{json .State.OOMKilled}}", by_default))
    as_deployed = world.api("--memory", limit, command=tuple(ours["command"]), **real)
    assert world.ask(as_deployed, "http://localhost/ping") == "OK"
    assert not json.loads(world.docker("inspect", "--format", "{{json .State.OOMKilled}}", as_deployed))
    assert "Forking" not in world.log(as_deployed)


def test_device_types_come_later_and_every_start_then_needs_the_image_store(world: World) -> None:
    api = world.api(STAND_IN_CONTRACTS_SECONDS="1")
    world.says(api, "Failed to fetch contracts, skipping...")
    assert world.sql("SELECT count(*) FROM device_type") == "0"
    outside = internet(world)
    eventually("a device type", lambda: world.sql("SELECT count(*) FROM device_type") == "1")
    with_store = world.api()
    assert world.ask(with_store, "http://localhost/ping") == "OK"
    world.docker("rm", "--force", outside)
    without = world.api()
    world.says(without, "Server listening")
    assert world.ended(without) == "1"
    assert "Unhandled rejection" in world.log(without)


def test_a_migration_is_cut_by_the_statement_timeout_and_recorded_once_it_is_not(world: World) -> None:
    api = world.api(DB_STATEMENT_TIMEOUT="1000", STAND_IN_MIGRATION_SECONDS="3")
    assert world.ended(api) == "1"
    assert "Failed to initialize: canceling statement due to statement timeout" in world.log(api)
    assert world.sql("SELECT to_regclass('device') IS NULL") == "t", "it is rolled back"
    # As earlier versions of the stand-in have it.
    world.sql("CREATE TABLE migration (model_name text PRIMARY KEY, executed_migrations text[] NOT NULL)")
    patient = world.api(DB_STATEMENT_TIMEOUT="60000", STAND_IN_MIGRATION_SECONDS="3", STAND_IN_NEWEST_MIGRATION="112")
    assert world.ask(patient, "http://localhost/ping") == "OK"
    for newest in ("115", "114"):  # a newer one, and an older one that does not notice
        api = world.api(STAND_IN_NEWEST_MIGRATION=newest, STAND_IN_START_SECONDS="0")
        assert world.ask(api, "http://localhost/ping") == "OK"
    executed = api_schema.parse_executed(world.sql(api_schema.QUERY))
    assert executed == [*migrations.keys(112), "slow 3", "00113", "00114", "00115"]
    known = [*migrations.keys(112), "slow 3"]
    assert api_schema.judge(executed, known).answer is api_schema.Answer.REFUSED
    assert api_schema.judge(executed[:-1], known).answer is api_schema.Answer.LIMITED


def test_two_on_an_empty_database_collide_once(world: World) -> None:
    api = world.api(STAND_IN_CPUS="2", STAND_IN_MIGRATION_SECONDS="5")
    world.says(api, "another worker has created the model in the meantime")
    eventually("both workers", lambda: world.log(api).count("Server listening") == 2)
    assert world.log(api).count("died, replacing it") == 1


def test_heartbeats_fail_after_redis_came_back_empty_until_the_api_starts_again(world: World) -> None:
    api = world.api()
    assert world.ask(api, "http://localhost/ping") == "OK"
    world.sql("INSERT INTO device_type (slug, name) VALUES ('x', 'x')")
    fields = "app_name, slug, uuid, organization, is_for__device_type, provisioning_key"
    world.sql(f"INSERT INTO application ({fields}) VALUES ('a', 'a', 'a', 1, 1, 'p')")
    world.sql("INSERT INTO device (uuid, api_key, belongs_to__application) VALUES ('abcd', 'key', 1)")
    state = ("--header", "Authorization: Bearer key", "http://localhost/device/v3/abcd/state")
    assert "abcd" in world.ask(api, *state)
    assert world.sql("SELECT api_heartbeat_state FROM device") == "online"
    assert "queueNotFound" not in world.log(api)
    world.docker("exec", world.redis, "redis-cli", "FLUSHALL")
    assert "abcd" in world.ask(api, *state), "the device does not notice"
    world.says(api, "Unable to capture the API heartbeat event for device: 1 queueNotFound")
    world.api(IMAGE_STORAGE_ENDPOINT="http://nowhere")
    eventually("the queue", lambda: "1" in world.docker("exec", world.redis, "redis-cli", "EXISTS", _QUEUE))
    report = ("--request", "PATCH", "--header", "Authorization: Bearer key", "--json", '{"abcd": {"status": "Idle"}}')
    world.ask(api, *report, "http://localhost/device/v3/state")
    with pytest.raises(OperationError, match="401"):
        world.docker("exec", api, "curl", "-sS", "--fail", "http://localhost/device/v3/abcd/state")


def test_ping_waits_while_the_worker_is_busy_and_sigterm_cuts_what_is_under_way(world: World) -> None:
    api = world.api()
    assert world.ask(api, "http://localhost/ping") == "OK"
    block = "curl -s 'http://localhost/stand-in/block?ms=3000' >/dev/null &"
    busy = f"{block} sleep 0.5; curl -sS --max-time 0.5 localhost/ping"
    with pytest.raises(OperationError, match="timed out"):
        world.docker("exec", api, "sh", "-c", busy)
    assert world.ask(api, "http://localhost/ping") == "OK"
    world.docker("stop", "--time", "60", api)
    assert world.docker("inspect", "--format", "{{.State.ExitCode}}", api).strip() == "143"


_LOGIN = ("--json", '{"username": "admin@t.example", "password": "password"}', "http://localhost/login_")


def whoami(token: str) -> tuple[str, ...]:
    return ("--header", f"Authorization: Bearer {token}", "http://localhost/user/v1/whoami")


def status(world: World, api: str, words: tuple[str, ...]) -> str:
    """The status of a request, 000 for none in 5 s."""
    command = ("curl", "--silent", "--output", "/dev/null", "--max-time", "5", "--write-out", "%{http_code}", *words)
    return world.docker("exec", api, "sh", "-c", '"$@" || true', "sh", *command)


def serves(world: World, api: str, words: tuple[str, ...]) -> Callable[[], bool]:
    return lambda: status(world, api, words) == "200"


def test_without_redis_requests_fail_at_once_and_work_again_when_it_is_back(world: World) -> None:
    api = world.api()
    ask = whoami(world.ask(api, *_LOGIN))
    world.docker("kill", world.redis)
    eventually("an error", lambda: status(world, api, ask) == "500", 10)
    began = time.monotonic()
    assert status(world, api, ask) == "500"
    assert time.monotonic() - began < 3, "a queue would wait"
    assert "enableOfflineQueue" in world.log(api)
    world.docker("start", world.redis)
    eventually("the session", serves(world, api, ask), 20)


def test_a_database_and_a_redis_that_moved_without_a_word_are_found_within_a_minute(world: World) -> None:
    sysctls = defined("api")["sysctls"]
    api = world.api(*(f"--sysctl={name}={value}" for name, value in sysctls.items()))
    ask = whoami(world.ask(api, *_LOGIN))
    # As on another node: at the old address nothing answers any more, and nothing has closed the connections.
    for last, (container, alias) in enumerate(((world.redis, "redis"), (world.db, "db")), 200):
        world.docker("network", "disconnect", world.name, container)
        moved = ("--alias", alias, "--ip", f"{_SUBNET}.{last}")
        world.docker("network", "connect", *moved, world.name, container)
    end = time.monotonic() + 60 + 5  # the next request has to come, too
    for waiting in (_LOGIN, ask):
        assert status(world, api, waiting) == "000", "it waits for an answer that will not come"
    for what in (ask, _LOGIN):
        eventually(what[-1], serves(world, api, what), end - time.monotonic())
