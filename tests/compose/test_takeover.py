"""An upstream openBalena in use is taken over: its tokens, its CA, its data and its lines of .env stay."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import DNS_TLD, Machine

from openbalena import settings
from openbalena.lab import Endpoint
from openbalena.standalone import build, deployment
from openbalena.verify import account, front, vpn
from openbalena.verify.web import Web

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(500)]

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
        made.run("destroy", "--yes", code=None)


def _upstream(machine: Machine) -> str:
    """Leave volumes as upstream does: nothing but `docker compose up` has touched them. Returns the old CA."""
    machine.run("config", "--dns-tld", DNS_TLD, "--yes")
    told = build.ensure(deployment.load(machine.project, lab=True), print)
    for _ in told.stream("up", "--detach", "--no-build", limit=300):
        pass
    machine.run("wait")
    return machine.docker("exec", f"{machine.name}-balena-ca-1", "sh", "-c", "cat /certs/private/ca-bundle.*.pem")


def test_a_deployment_in_use_is_taken_over(machine: Machine) -> None:
    old_ca = _upstream(machine)
    old = settings.load(machine.project).secrets
    before = machine.target(old_ca)
    address = before.addresses[0]
    session = account.log_in(before, address)
    fields = {"app_name": "old-fleet", "organization": 1, "is_for__device_type": 1}
    made = Web(before).request("POST", address, "api", "/v7/application", json=fields, headers=account.bearer(session))
    fleet = account.Application(int(made.json()["id"]), "old-fleet", session)
    uuid, key = vpn.register(before, fleet, 0)
    machine.run("down")

    # The volumes' tokens are not the project's: nothing may start that locks devices out.
    shutil.rmtree(machine.directory / "pki")
    (machine.directory / ".env").write_text(f"{ENV}API_SERVICE_API_KEY={'0' * 32}\n")
    machine.run("config", "--yes")
    assert "API_SERVICE_API_KEY" in machine.run("up", code=2).stderr

    shutil.rmtree(machine.directory / "pki")
    (machine.directory / ".env").write_text(ENV)
    machine.run("up")

    assert machine.env.startswith(ENV)
    new = settings.load(machine.project).secrets
    # Upstream has no password for HAProxy; the others are what users and devices know.
    assert {name: value for name, value in new.items() if name != "HAPROXY_PASSWORD"} == {
        name: value for name, value in old.items() if name != "HAPROXY_PASSWORD"
    }
    after = machine.target(old_ca)
    assert front.certificate(after)
    assert (machine.directory / "pki" / "ca-bundle.pem").read_text().strip() == old_ca.strip()
    again = account.log_in(after, address)
    fleets = Web(after).request("GET", address, "api", "/v7/application", headers=account.bearer(again))
    assert "old-fleet" in [row["app_name"] for row in fleets.json()["d"]]
    for secret, status in ((key, 200), ("wrong", 401)):
        answer = Web(after).request("GET", address, "api", "/auth/v1/token", basic=(f"d_{uuid}", secret))
        assert answer.status_code == status
    machine.run("verify")
