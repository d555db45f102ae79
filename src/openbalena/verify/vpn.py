"""The VPN: a device's tunnel through port 443."""

import secrets
import ssl
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import quote

from openbalena.files import write_atomic
from openbalena.verify.account import Application, application, ask, rows
from openbalena.verify.check import CheckError, SkipCheckError, Suspect, expect
from openbalena.verify.target import Target

# Seconds: for the handshake, and for the api to hear of it from the VPN.
_HANDSHAKE, _REPORT = 30.0, 15.0

# What the client says when its tunnel stands.
CONNECTED = "Initialization Sequence Completed"


def tunnel(target: Target) -> str:
    """At every address a device opens a tunnel with its own credentials, and the api then shows it as connected."""
    if target.openvpn is None:
        raise SkipCheckError("no openvpn program here: install it, or name one with --openvpn")
    with application(target) as fleet, tempfile.TemporaryDirectory(prefix="open-balena-verify-") as directory:
        for turn, address in enumerate(target.addresses):
            uuid, key = register(target, fleet, turn)
            credentials = Path(directory) / "credentials"
            write_atomic(credentials, f"{uuid}\n{key}\n", 0o600)
            authority = Path(ssl.get_default_verify_paths().cafile or "")
            if known := target.vpn_authority or target.authority:
                authority = Path(directory) / "ca.pem"
                write_atomic(authority, known)
            _connect(target, fleet, address, uuid, authority, credentials)
    return f"tunnels through port 443 of {', '.join(target.addresses)}"


def register(target: Target, fleet: Application, turn: int) -> tuple[str, str]:
    """A new device of `fleet`: its uuid and API key."""
    address, todo, suspect = target.alternate(turn), "see the api's logs", Suspect("api")
    answer = ask(target, "POST", address, f"/api-key/application/{fleet.id}/provisioning", fleet.token)
    provisioning = expect(answer, 200, "asking for a key to register with", todo, suspect).text.strip().strip('"')
    uuid, key = secrets.token_hex(16), secrets.token_hex(16)
    fields = {"application": fleet.id, "uuid": uuid, "api_key": key, "device_type": "generic-amd64"}
    answer = ask(target, "POST", address, "/device/register", provisioning, fields)
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
    words = command(target, address, authority, credentials)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as client:
        watchdog = threading.Timer(_HANDSHAKE, client.kill)
        watchdog.start()
        try:
            said: list[str] = []
            for line in client.stdout or ():
                said.append(line.strip())
                if CONNECTED in line:
                    watchdog.cancel()
                    _await_report(target, fleet, address, uuid)
                    return
        finally:
            watchdog.cancel()
            client.kill()
    raise _explain(address, said)


def _await_report(target: Target, fleet: Application, address: str, uuid: str) -> None:
    """Wait until the api shows the device as connected: the VPN told it so, with its own key."""
    deadline = time.monotonic() + _REPORT
    path = "/v7/device?$select=is_connected_to_vpn&$filter=" + quote(f"uuid eq '{uuid}'")
    while time.monotonic() < deadline:
        found = rows(ask(target, "GET", address, path, fleet.token))
        if [row["is_connected_to_vpn"] for row in found] == [True]:
            return
        time.sleep(0.5)
    raise CheckError(
        f"{_REPORT:.0f} s after its tunnel opened at {address} the api does not show the device as connected",
        "the VPN reports to the api with its service key, which has to be the api's: deploy again from one .env",
        Suspect("vpn", "VPN_SERVICE_API_KEY"),
    )


def _explain(address: str, said: list[str]) -> CheckError:
    """What the client's output means; it holds no secret at this verbosity."""
    text = "\n".join(said)
    last = said[-1] if said else "nothing"
    if "AUTH_FAILED" in text:
        return CheckError(
            f"the VPN refused a device of the api at {address}",
            "the VPN asks the api at API_HOST, with its service key: see the VPN's logs",
            Suspect("vpn", "VPN_SERVICE_API_KEY"),
        )
    if "VERIFY ERROR" in text or "certificate verify failed" in text:
        return CheckError(
            f"the VPN's certificate at {address} is not of the deployment's CA",
            "deploy again, so that vpn gets the certificate that belongs to the CA",
            Suspect("vpn", "VPN_OPENVPN_SERVER_CRT"),
        )
    return CheckError(
        f"no tunnel through {address}:443 within {_HANDSHAKE:.0f} s; the client said last: {last}",
        "see the logs of vpn and haproxy: a vpn task is healthy only after it has registered with the api",
        Suspect("vpn", "VPN_SERVICE_API_KEY"),
    )
