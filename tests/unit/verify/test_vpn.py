"""What the VPN check makes of a client's words; the client is a script, the real one runs in the cluster tests."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
import small_deployment as local

from openbalena import verify
from openbalena.verify import Target, vpn


def client(target: Target, directory: Path, script: str) -> Target:
    """`target` with a client that does as `script` says; the script finds the arguments in the file `arguments`."""
    program = directory / "openvpn"
    program.write_text(f'#!/bin/sh\necho "$@" >{directory}/arguments\n{script}\n')
    program.chmod(0o755)
    return replace(target, openvpn=program)


CONNECTED = 'echo "Initialization Sequence Completed"; exec sleep 60'


def test_tunnel_at_each_address(target: Target, tmp_path: Path) -> None:
    assert (
        vpn.tunnel(client(target, tmp_path, CONNECTED)) == f"tunnels through port 443 of {local.STORE}, {local.STORE}"
    )
    arguments = (tmp_path / "arguments").read_text()
    assert f"--remote {local.STORE} 443" in arguments
    assert "--dev null" in arguments


@pytest.mark.parametrize(
    ("says", "suspect"),
    [
        ("AUTH: Received control message: AUTH_FAILED", "VPN_SERVICE_API_KEY of vpn"),
        ("VERIFY ERROR: depth=1, error=self-signed certificate", "VPN_OPENVPN_SERVER_CRT of vpn"),
        ("Connection reset, restarting", "VPN_SERVICE_API_KEY of vpn"),
    ],
)
def test_refused(says: str, suspect: str, target: Target, tmp_path: Path) -> None:
    with pytest.raises(verify.CheckError) as error:
        vpn.tunnel(client(target, tmp_path, f"echo '{says}'"))
    assert str(error.value.suspect) == suspect


def test_api_that_hears_nothing(
    target: Target, deployment: local.Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vpn, "_REPORT", 0.2)
    deployment.vpn_reports = False
    with pytest.raises(verify.CheckError, match="does not show the device as connected") as error:
        vpn.tunnel(client(target, tmp_path, CONNECTED))
    assert str(error.value.suspect) == "VPN_SERVICE_API_KEY of vpn"


def test_bounded(target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vpn, "_HANDSHAKE", 2.0)  # the script's first word takes a while on a busy machine
    begin = time.monotonic()
    with pytest.raises(verify.CheckError, match="no tunnel through .* the client's last output: connecting"):
        vpn.tunnel(client(target, tmp_path, "echo connecting; exec sleep 60"))
    assert time.monotonic() - begin < 30


def test_skipped_without_the_program(target: Target) -> None:
    with pytest.raises(verify.SkipCheckError, match="openvpn not found"):
        vpn.tunnel(target)
