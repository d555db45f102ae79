"""A device's own port, reached through `tunnel.` on 443, whichever replica of the VPN has the device."""

import base64
import secrets
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from deployed_project import STACK
from lab_target import lab_target
from waiting import BOUND, eventually

from openbalena.base.errors import OperationError
from openbalena.base.project import Project
from openbalena.lab import base
from openbalena.operations.engines import default_engine
from openbalena.verify.account import application
from openbalena.verify.target import Target
from openbalena.verify.vpn import register

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

_PORT = 8022
# The VPN's own port for tunnels.
_TUNNEL = 3128
_TUNNELS = 6
# What the device's VPN client and its web server say once they are there.
_UP = ("Initialization Sequence Completed", "Serving HTTP on")
_DEVICE = """
printf '%s' "$CREDENTIALS" >/tmp/credentials
echo "$AUTHORITY" | base64 -d >/tmp/ca.pem
mkdir -p /dev/net && [ -e /dev/net/tun ] || mknod /dev/net/tun c 10 200
python3 -u -m http.server --directory /etc/ssl 8022 &
exec openvpn --client --dev tun --nobind --proto tcp-client --remote "$ADDRESS" 443 --ca /tmp/ca.pem \\
    --remote-cert-tls server --auth-user-pass /tmp/credentials
"""


@dataclass(frozen=True)
class Device:
    """A container that is connected to the VPN as `uuid`; `token` may see it."""

    target: Target
    uuid: str
    token: str


@pytest.fixture
def device(deployed: Project) -> Iterator[Device]:
    where = lab_target(deployed)
    engine, name = default_engine(lab=True), f"test-device-{secrets.token_hex(4)}"
    base.ensure_base_image(engine)
    with application(where) as fleet:
        uuid, key = register(where, fleet, 0)
        environment = {
            "CREDENTIALS": f"{uuid}\n{key}\n",
            "AUTHORITY": base64.b64encode(where.authority.encode()).decode(),
            "ADDRESS": where.addresses[0],
        }
        options = [word for item in environment for word in ("--env", item)]
        command = ["run", "--detach", "--name", name, "--cap-add", "NET_ADMIN", "--entrypoint", "sh", *options]
        engine.docker(*command, base.IMAGE, "-c", _DEVICE, env=environment)
        try:
            deadline = time.monotonic() + BOUND
            while missing := [word for word in _UP if word not in engine.docker("logs", name)]:
                assert time.monotonic() < deadline, (missing, engine.docker("logs", name))
                time.sleep(0.5)
            yield Device(where, uuid, fleet.token)
        except OperationError as error:
            raise AssertionError(str(error)) from error
        finally:
            engine.docker("rm", "--force", name)


def connect(device: Device, turn: int, password: str) -> tuple[bytes, socket.socket]:
    """The answer to CONNECT, and the connection."""
    name = device.target.host("tunnel")
    plain = socket.create_connection((device.target.alternate(turn), 443), 10)
    stream = device.target.trust.wrap_socket(plain, server_hostname=name)
    credentials = base64.b64encode(f"x:{password}".encode()).decode()
    request = f"CONNECT {device.uuid}.balena:{_PORT} HTTP/1.1\r\nProxy-Authorization: Basic {credentials}\r\n\r\n"
    stream.sendall(request.encode())
    return stream.recv(4096), stream


def tunnels_by_task() -> list[int]:
    """How many tunnels each VPN task has: established connections to port 3128 (proc(5), /proc/net/tcp)."""
    counts = []
    for node in default_engine(lab=True).nodes:
        for container in node.docker("ps", "--quiet", "--filter", f"name={STACK}_vpn\\.").split():
            rows = [line.split() for line in node.docker("exec", container, "cat", "/proc/net/tcp").splitlines()[1:]]
            counts.append(sum(row[1].endswith(f":{_TUNNEL:04X}") and row[3] == "01" for row in rows))
    return counts


def test_every_replica_reaches_the_device(device: Device) -> None:
    # With least connections first and each tunnel kept open, consecutive tunnels go to different replicas.
    kept = []
    for turn in range(_TUNNELS):
        answer, stream = connect(device, turn, device.token)
        assert answer.startswith(b"HTTP/1.0 200"), answer
        kept.append(stream)
    # A replica that has not the device passes the tunnel on to the one that has it.
    eventually("two replicas, each with tunnels", lambda: len(found := tunnels_by_task()) == 2 and all(found), 60)
    for stream in kept:
        stream.sendall(b"GET /openssl.cnf HTTP/1.0\r\n\r\n")
        assert stream.recv(4096).startswith(b"HTTP/1.0 200")
        stream.close()


@pytest.mark.parametrize("password", ["", "wrong"])
def test_who_may_not_see_the_device_does_not_reach_it(device: Device, password: str) -> None:
    answer, stream = connect(device, 0, password)
    stream.close()
    assert answer.startswith(b"HTTP/1.0 407"), answer
