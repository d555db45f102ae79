"""A network without a way out: device types from a directory, their OS images in the deployment's own store."""

import subprocess
from pathlib import Path

import pytest
from machine import DNS_TLD, Machine
from waiting import eventually

from openbalena import settings
from openbalena.base.project import ROOT
from openbalena.verify import account

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

# docs/closed-network.md; without `internet` nothing answers for the world outside in the lab either.
OVERRIDE = """\
services:
  api:
    volumes:
      - /srv/contracts:/tmp/contracts/own:ro
  internet:
    profiles: [outside]
"""
CONTRACT = '{"slug": "generic-amd64", "version": "1", "type": "hw.device-type", "name": "Generic x86_64"}'
IMAGE = "/export/web-resources/images/generic-amd64/6.0.0"


def in_node(machine: Machine, script: str) -> None:
    """Run a script on the machine itself, which is the lab's first node."""
    command: list[str | Path] = [ROOT / "open-balena.sh", "lab", "shell", machine.lab.nodes[0].name, "sh", "-c", script]
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=60)


def test_the_api_starts_again_and_again_without_a_way_out(machine: Machine) -> None:
    contract = "/srv/contracts/contracts/hw.device-type/generic-amd64"
    in_node(machine, f"mkdir -p {contract}")
    keys = settings.read(machine.project).secrets
    with (machine.directory / ".env").open("a") as env:
        env.write(f"IMAGE_STORAGE_ENDPOINT=s3.{DNS_TLD}\nIMAGE_STORAGE_BUCKET=web-resources\n")
        env.write(f"IMAGE_STORAGE_FORCE_PATH_STYLE=true\nIMAGE_STORAGE_ACCESS_KEY={keys['REGISTRY2_S3_KEY']}\n")
        env.write(f"IMAGE_STORAGE_SECRET_KEY={keys['REGISTRY2_S3_SECRET']}\n")
    (machine.directory / "docker-compose.override.yml").write_text(OVERRIDE)
    machine.run("up")
    # `up` starts the api twice. The real one reads contracts every five minutes, this one sooner.
    in_node(machine, f"echo '{CONTRACT}' >{contract}/contract.json")
    account.device_types(machine.target())

    api, store = f"{machine.name}-api-1", f"{machine.name}-s3-1"
    machine.docker("restart", api)
    eventually("the api to miss an image", lambda: "Could not retrieve any device type" in machine.docker("logs", api))
    machine.docker("exec", store, "sh", "-c", f"mkdir -p {IMAGE} && echo '{{}}' >{IMAGE}/device-type.json")
    machine.run("wait")
    machine.run("restart", "api")
    asked = machine.docker("inspect", "--format", "{{.State.StartedAt}} {{.RestartCount}}", api)
    machine.run("verify")
    assert machine.docker("inspect", "--format", "{{.State.StartedAt}} {{.RestartCount}}", api) == asked
