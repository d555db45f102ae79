"""The service: registers with the api, runs the OpenVPN workers and the tunnel, and drains on SIGTERM."""

import logging
import os
import signal
import socket
import struct
import sys
import threading
import time

from . import tunnel
from .api import Api
from .clients import Clients
from .worker import Worker

# src/utils/config.ts of open-balena-vpn v12.3.105, requiredVar.
_REQUIRED = ("BALENA_API_HOST", "VPN_SERVICE_API_KEY", "VPN_BASE_SUBNET")
# Seconds between registration attempts, which never stop, and between heartbeats (src/utils/service.ts).
_INTERVAL = 10
# The image runs one worker per CPU. The lab's nodes share one machine and all see its CPUs.
_MOST_WORKERS = 4
# Seconds to report the last disconnected devices to the api; the image does not wait for this.
_TOLD = 2
_SIOCGIFADDR = 0x8915  # ioctl(2) number of netdevice(7)


def address(interface: str) -> str:
    """The IPv4 address of `interface`, by which other replicas and the api reach this task."""
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, struct.pack("256s", interface.encode()[:15]))
    return socket.inet_ntoa(answer[20:24])


def register(api: Api, own: str, stopping: threading.Event) -> int:
    """Register, and retry after every failure, even a rejected key."""
    while True:
        try:
            return api.register(own)
        except OSError as error:
            logging.info("no registration with the api: %s", error)
        if stopping.wait(_INTERVAL):
            sys.exit(0)


def workers() -> list[Worker]:
    count = int(os.environ["VPN_INSTANCE_COUNT"]) or os.cpu_count() or 1
    logging.info("spawning %d workers", min(count, _MOST_WORKERS))
    return [Worker(number) for number in range(1, min(count, _MOST_WORKERS) + 1)]


def drain(clients: Clients, running: list[Worker], bound: float) -> None:
    """Disconnect the devices one by one, in all workers in parallel; /ping already fails, so new ones go elsewhere."""
    logging.info("draining %d devices in at most %.0f s", len(clients.connected), bound)
    draining = [
        threading.Thread(target=worker.drain, args=(clients.of(number), bound))
        for number, worker in enumerate(running, 1)
    ]
    for thread in draining:
        thread.start()
    for thread in draining:
        thread.join()
    deadline = time.monotonic() + _TOLD
    while clients.connected and time.monotonic() < deadline:
        time.sleep(0.1)
    logging.info("all %d workers drained", len(running))


def main() -> None:
    logging.basicConfig(format="vpn: %(message)s", level=logging.INFO, stream=sys.stdout)
    missing = [name for name in _REQUIRED if not os.environ.get(name)]
    if missing:
        sys.exit(f"vpn: not set: {', '.join(missing)}")
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    api = Api(os.environ["BALENA_API_HOST"], os.environ["VPN_SERVICE_API_KEY"])
    own = address(os.environ.get("VPN_SERVICE_REGISTER_INTERFACE", "eth0"))
    instance = register(api, own, stopping)
    clients = Clients(api, instance)
    clients.serve()
    running = workers()
    for worker in running:
        worker.run()
    threading.Thread(target=tunnel.Server(api, clients).serve_forever, daemon=True).start()
    beat = time.monotonic()
    while not stopping.wait(0.5):
        if time.monotonic() - beat > _INTERVAL:
            beat = time.monotonic()
            try:
                api.heartbeat(instance)
            except OSError as error:
                logging.error("heartbeat: %s", error)
    drain(clients, running, float(os.environ["DEFAULT_SIGTERM_TIMEOUT"]))


main()
