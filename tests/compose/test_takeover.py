"""An upstream openBalena in use is taken over: its tokens, its CA, its data and its lines of .env stay."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from deployed_clients import connects
from machine import DNS_TLD, Machine
from waiting import BOUND

from openbalena import settings
from openbalena.base.project import ROOT
from openbalena.docker.logs import stream
from openbalena.lab import Endpoint
from openbalena.machine import build, health, takeover
from openbalena.machine.containers import ContainerPhase
from openbalena.operations.engines import default_engine
from openbalena.operations.machine import ensure_lab_base, load_machine
from openbalena.operations.workspace import Workspace
from openbalena.verify import account, front, vpn
from openbalena.verify.web import Web

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

# As upstream's Makefile writes it.
ENV = f"""\
BALENARC_NO_ANALYTICS=1
DNS_TLD={DNS_TLD}
ORG_UNIT=openBalena
PRODUCTION_MODE=true
SUPERUSER_EMAIL=admin@{DNS_TLD}
VERBOSE=false
"""


@pytest.fixture(scope="module")
def machine(lab: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    directory: Path = tmp_path_factory.mktemp("upstream") / "obtest-upstream"
    directory.mkdir()
    made = Machine(directory, lab)
    try:
        yield made
    finally:
        made.run("config", "--yes", code=None)  # a test that failed may have left upstream's .env
        made.run("destroy", "--yes")


# Our definitions hand each token in; upstream's do not, so that its images invent them.
HANDED_IN = re.compile(r"^ +(?!SUPERUSER_EMAIL|HAPROXY_PASSWORD)\w+: .*:\?run .*\n", re.MULTILINE)


def _upstream(machine: Machine) -> dict[str, str]:
    """Leave running what upstream does: tokens in the shared file alone, a CA of balena-ca's. Returns the tokens."""
    machine.run("config", "--dns-tld", DNS_TLD, "--yes")
    standalone = load_machine(Workspace(machine.project, True))
    ensure_lab_base(standalone)
    built = build.ensure_images(standalone, print)
    shutil.rmtree(machine.directory / "pki")
    (machine.directory / ".env").write_text(ENV)
    text, handed_in = HANDED_IN.subn("", (ROOT / "docker-compose.yml").read_text())
    assert handed_in > 20
    definitions = machine.directory / "upstream.yml"
    definitions.write_text(text)
    words = [*built.words("up", "--detach", "--no-build")]
    words[words.index(str(ROOT / "docker-compose.yml"))] = str(definitions)
    # Upstream's HAProxy takes an empty password; ours does not.
    images = {name: value for name, value in built.engine.environment.items() if name.endswith("_IMAGE")}
    environment = {**images, "DNS_TLD": DNS_TLD, "HAPROXY_PASSWORD": "upstream", "SUPERUSER_EMAIL": f"admin@{DNS_TLD}"}
    environment["COMPOSE_PROFILES"] = "internal-postgres,internal-s3"
    engine = default_engine(True)
    told = replace(engine, environment={**engine.environment, **environment})
    for _ in stream(told, *words, silence=None, limit=300):
        pass
    with engine.client() as client:
        # What started before the certificates lay there does not trust them; upstream has the same race.
        health.wait_until_healthy(client, machine.name, ["cert-manager"], BOUND, lambda _: None)
        machine.docker("restart", *(f"{machine.name}-{name}-1" for name in ("api", "registry", "s3", "vpn")))
        wanted = sorted(built.definitions.services)
        seen = health.wait_until_healthy(client, machine.name, wanted, BOUND, lambda _: None)
    assert {service.phase for service in seen} == {ContainerPhase.READY}, seen
    return takeover.tokens(machine.docker("exec", f"{machine.name}-api-1", "cat", f"/balena/{DNS_TLD}.env").encode())


def test_a_deployment_in_use_is_taken_over(machine: Machine, tmp_path: Path) -> None:
    old = _upstream(machine)
    old_ca = machine.docker("exec", f"{machine.name}-balena-ca-1", "sh", "-c", "cat /certs/private/ca-bundle.*.pem")
    before = machine.target(old_ca, old)
    address = before.addresses[0]
    account.device_types(before)  # waited for: they come after the start
    session = account.log_in(before, address)
    fields = {"app_name": "old-fleet", "organization": 1, "is_for__device_type": 1}
    made = Web(before).request("POST", address, "api", "/v7/application", json=fields, headers=account.bearer(session))
    fleet = account.Application(int(made.json()["id"]), "old-fleet", session)
    device = vpn.register(before, fleet, 0)
    assert connects(before, device, old_ca, tmp_path)
    machine.run("config", "--yes")
    before_down = (machine.env, settings.read(machine.project).secrets)
    default_engine(True).docker("compose", "--project-name", machine.name, "down", timeout=BOUND)

    # The volumes' tokens are not the project's: nothing may start that locks devices out.
    shutil.rmtree(machine.directory / "pki")
    (machine.directory / ".env").write_text(f"{ENV}API_SERVICE_API_KEY={'0' * 32}\n")
    machine.run("config", "--yes")
    assert "API_SERVICE_API_KEY" in machine.run("up", code=2).stderr
    assert machine.docker("ps", "--all", "--quiet", "--filter", f"name={machine.name}-") == ""

    shutil.rmtree(machine.directory / "pki")
    (machine.directory / ".env").write_text(ENV)
    machine.run("up")

    assert machine.env.startswith(ENV)
    new = settings.read(machine.project).secrets
    assert {name: new.get(name) for name in old} == old
    # `config` had seen the same while upstream still ran. New are passwords that upstream has not.
    assert before_down[0].startswith(ENV)
    assert {name for name, value in new.items() if before_down[1].get(name) != value} == {
        "HAPROXY_PASSWORD",
        "HAPROXY_STATS_PASSWORD",
        "REDIS_PASSWORD",
        "REGISTRY2_CACHE_PASSWORD",
    }
    after = machine.target(old_ca)
    assert front.certificate(after)
    assert (machine.directory / "pki" / "ca-bundle.pem").read_text().strip() == old_ca.strip()
    again = account.log_in(machine.target(old_ca, old), address)
    for token in (session, again):
        fleets = Web(after).request("GET", address, "api", "/v7/application", headers=account.bearer(token))
        assert "old-fleet" in [row["app_name"] for row in fleets.json()["d"]]
    for secret, status in ((device[1], 200), ("wrong", 401)):
        answer = Web(after).request("GET", address, "api", "/auth/v1/token", basic=(f"d_{device[0]}", secret))
        assert answer.status_code == status
    assert connects(after, device, old_ca, tmp_path)
    machine.run("verify")
