"""What reaches the service of the lab's VPN: the variables of the image's template, as a shell reads them."""

import os
import subprocess
import sys
from pathlib import Path

from openbalena.base.project import ROOT

_RENDER = "from standin import render; print('\\n'.join(render.lines()))"


def reaching(directory: Path, values: dict[str, str]) -> dict[str, str]:
    """The service's environment where the container has `values`."""
    command = [sys.executable, "-B", "-c", _RENDER]
    environment = {"PATH": os.environ["PATH"], **values}
    rendered = subprocess.run(
        command, cwd=ROOT / "lab" / "vpn", env=environment, capture_output=True, check=True, timeout=30
    )
    (directory / "env").write_bytes(rendered.stdout)
    script = ["bash", "-c", "set -a; . ./env; exec env"]
    empty = {"PATH": os.environ["PATH"]}
    shown = subprocess.run(
        script, cwd=directory, env=empty, capture_output=True, text=True, check=True, timeout=30
    ).stdout
    return dict(line.split("=", 1) for line in shown.splitlines())


def test_only_the_template_s_variables_reach_the_service(tmp_path: Path) -> None:
    found = reaching(
        tmp_path, {"API_HOST": "api.t", "VPN_HOST": "cloudlink.t", "OF_MY_OWN": "1", "TRUST_PROXY": "10.0.0.0/8"}
    )
    assert (found["BALENA_API_HOST"], found["TRUST_PROXY"], found["DEFAULT_SIGTERM_TIMEOUT"]) == (
        "api.t",
        "10.0.0.0/8",
        "120",
    )
    assert not {"API_HOST", "VPN_HOST", "OF_MY_OWN"} & found.keys()


def test_production_mode_decides_what_is_started_and_how_many_workers(tmp_path: Path) -> None:
    assert reaching(tmp_path, {})["NODE_ENV"] == "development"
    found = reaching(tmp_path, {"PRODUCTION_MODE": "true"})
    assert (found["NODE_ENV"], found["VPN_INSTANCE_COUNT"]) == ("production", "0")
    assert reaching(tmp_path, {"PRODUCTION_MODE": "true", "VPN_INSTANCE_COUNT": "3"})["VPN_INSTANCE_COUNT"] == "3"


def test_a_shell_reads_the_values_unquoted(tmp_path: Path) -> None:
    assert reaching(tmp_path, {"VPN_SERVICE_API_KEY": "a#b-c._~"})["VPN_SERVICE_API_KEY"] == "a#b-c._~"
    assert reaching(tmp_path, {"VPN_SERVICE_API_KEY": "a;b"})["VPN_SERVICE_API_KEY"] == "a"
    assert reaching(tmp_path, {"VPN_SERVICE_API_KEY": "a$none"})["VPN_SERVICE_API_KEY"] == "a"
