"""One machine becomes a cluster with all that it had, and a machine again; the copy that is left is never started."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployed_clients import connects
from machine import Machine

from openbalena.verify import Target, account, vpn
from openbalena.verify.web import Web

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

STACK = "obtest_migrated"
# Seconds, on a machine that runs other tests meanwhile: 95 were measured on two busy cores, 58 on the way back.
DOWN = 180


@pytest.fixture(scope="module")
def device(machine: Machine) -> Iterator[tuple[str, str]]:
    """A deployment in use, and a device of it, and an empty swarm that has the images."""
    with (machine.directory / ".env").open("a") as env:
        env.write(f"STACK_NAME={STACK}\n")
    machine.run("swarm-init")
    machine.run("up")
    machine.run("swarm-build")
    before = machine.target()
    account.device_types(before)
    try:
        logged_in = account.log_in(before, before.addresses[0])
        fields = {"app_name": "old-fleet", "organization": 1, "is_for__device_type": 1}
        made = Web(before).request(
            "POST", before.addresses[0], "api", "/v7/application", json=fields, headers=account.bearer(logged_in)
        )
        yield vpn.register(before, account.Application(int(made.json()["id"]), "old-fleet", logged_in), 0)
    finally:
        machine.run("swarm-down", "--volumes", "--yes", code=None)


def knows(target: Target, device: tuple[str, str]) -> bool:
    """Whether the deployment accepts the key that the device has had from the beginning."""
    answer = Web(target).request(
        "GET", target.addresses[0], "api", "/auth/v1/token", basic=(f"d_{device[0]}", device[1])
    )
    return answer.status_code == 200


def test_a_machine_becomes_a_cluster(machine: Machine, device: tuple[str, str], tmp_path: Path) -> None:
    target, old = machine.target(), machine.volumes
    refused = machine.run("swarm-up", code=1).stderr
    assert f"volumes of the Compose deployment {machine.name}: {machine.name}_db-data" in refused, refused
    assert "migrate the data with" in refused and "migrate --to swarm" in refused, refused
    assert f"{machine.name}_db-data → {STACK}_db-data" in machine.run("migrate", "--to", "swarm", "--dry-run").stderr
    done = machine.run("migrate", "--to", "swarm", "--yes")
    assert connects(target, device, target.authority, tmp_path)
    down = re.search(r"down for at most (\d+) s", done.stdout)
    assert down and int(down[1]) < DOWN, done.stdout
    assert "Rows: application" in done.stdout and knows(target, device)
    assert machine.volumes == old, "nothing of it is removed"
    assert machine.containers() == {}
    assert f"docker volume rm {' '.join(sorted(old - {f'{machine.name}_resin-data'}))}" in done.stdout
    refused = machine.run("up", code=1).stderr
    assert "nothing was started" in refused and "migrate --to compose" in refused, refused


def test_a_cluster_becomes_a_machine_again(machine: Machine, device: tuple[str, str]) -> None:
    # Killed when the stack is gone: nothing runs, and the same command finishes.
    machine.kill("copying the rest of", "migrate", "--to", "compose", "--yes")
    assert "in use and verified" in machine.run("migrate", "--to", "compose", "--yes").stdout
    assert knows(machine.target(), device)
    machine.run("stop")
    refused = machine.run("swarm-up", code=1).stderr
    assert "are in use" in refused and "migrate --to swarm" in refused, refused
