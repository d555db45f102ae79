"""The VPN: a device's tunnel through port 443."""

import secrets
import ssl
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import quote

from openbalena.base.files import write_atomic
from openbalena.verify.account import Application, application, query, rows
from openbalena.verify.check import CheckError, SkipCheckError, Suspect, expect
from openbalena.verify.target import Target

# Seconds: for the handshake, and for the VPN to report it to the api.
_HANDSHAKE, _REPORT = 30.0, 15.0

# What the client prints when its tunnel is established.
CONNECTED = "Initialization Sequence Completed"


def tunnel(target: Target) -> str:
    """At every address a device can open a tunnel with its credentials, and the api then shows it as connected."""
    if target.openvpn is None:
        raise SkipCheckError("openvpn not found: install it, or set its path with --openvpn")
    with application(target) as fleet, tempfile.TemporaryDirectory(prefix="open-balena-verify-") as directory:
        for turn, address in enumerate(target.addresses):
            uuid, key = register(target, fleet, turn)
            credentials = Path(directory) / "credentials"
            write_atomic(credentials, f"{uuid}\n{key}\n", 0o600)
            authority = Path(ssl.get_default_verify_paths().cafile or "")
            if own := target.vpn_authority or target.authority:
                authority = Path(directory) / "ca.pem"
                write_atomic(authority, own)
            _connect(target, fleet, address, uuid, authority, credentials)
    return f"tunnels through port 443 of {', '.join(target.addresses)}"


def register(target: Target, fleet: Application, turn: int) -> tuple[str, str]:
    """A new device of `fleet`: its uuid and API key."""
    address, todo, suspect = target.alternate(turn), "see the api's logs", Suspect("api")
    answer = query(target, "POST", address, f"/api-key/application/{fleet.id}/provisioning", fleet.token)
    provisioning = expect(answer, 200, "requesting a provisioning key", todo, suspect).text.strip().strip('"')
    uuid, key = secrets.token_hex(16), secrets.token_hex(16)
    fields = {"application": fleet.id, "uuid": uuid, "api_key": key, "device_type": "generic-amd64"}
    answer = query(target, "POST", address, "/device/register", provisioning, fields)
    expect(answer, 201, "registering a device", todo, suspect)
    return uuid, key


def command(target: Target, address: str, authority: Path, credentials: Path) -> list[str]:
    """The OpenVPN client of one device: its CA file, and its credentials file of two lines, uuid and API key."""
    return [
        str(target.openvpn),
        *("--client", "--dev", "null", "--nobind", "--proto", "tcp-client", "--verb", "3"),
        *("--remote", address, "443", "--ca", str(authority), "--remote-cert-tls", "server"),
        *("--auth-user-pass", str(credentials), "--auth-retry", "none", "--auth-nocache"),
        *("--connect-retry-max", "1", "--connect-timeout", "10", "--resolv-retry", "0"),
    ]


def _connect(target: Target, fleet: Application, address: str, uuid: str, authority: Path, credentials: Path) -> None:
    arguments = command(target, address, authority, credentials)
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as client:
        watchdog = threading.Timer(_HANDSHAKE, client.kill)
        watchdog.start()
        try:
            output: list[str] = []
            for line in client.stdout or ():
                output.append(line.strip())
                if CONNECTED in line:
                    watchdog.cancel()
                    _await_report(target, fleet, address, uuid)
                    return
        finally:
            watchdog.cancel()
            client.kill()
    raise _explain(address, output)


def _await_report(target: Target, fleet: Application, address: str, uuid: str) -> None:
    """Wait until the api shows the device as connected: the VPN reports that with its own key."""
    deadline = time.monotonic() + _REPORT
    path = "/v7/device?$select=is_connected_to_vpn&$filter=" + quote(f"uuid eq '{uuid}'")
    while time.monotonic() < deadline:
        devices = rows(query(target, "GET", address, path, fleet.token))
        if [device["is_connected_to_vpn"] for device in devices] == [True]:
            return
        time.sleep(0.5)
    raise CheckError(
        f"{_REPORT:.0f} s after its tunnel opened at {address} the api does not show the device as connected",
        "the VPN reports to the api with its service key, which must match the api's: deploy again from one .env",
        Suspect("vpn", "VPN_SERVICE_API_KEY"),
    )


def _explain(address: str, output: list[str]) -> CheckError:
    """The error for the client's output, which contains no secrets at this verbosity."""
    text = "\n".join(output)
    last = output[-1] if output else "nothing"
    if "AUTH_FAILED" in text:
        return CheckError(
            f"the VPN refused a registered device at {address}",
            "the VPN verifies devices at API_HOST, with its service key: see the VPN's logs",
            Suspect("vpn", "VPN_SERVICE_API_KEY"),
        )
    if "VERIFY ERROR" in text or "certificate verify failed" in text:
        return CheckError(
            f"the VPN's certificate at {address} was not issued by the deployment's CA",
            "deploy again, so that vpn gets the certificate issued by the CA",
            Suspect("vpn", "VPN_OPENVPN_SERVER_CRT"),
        )
    return CheckError(
        f"no tunnel through {address}:443 within {_HANDSHAKE:.0f} s; the client's last output: {last}",
        "see the logs of vpn and haproxy: a vpn task is healthy only after it has registered with the api",
        Suspect("vpn", "VPN_SERVICE_API_KEY"),
    )
