"""The service: registers with the api, runs the OpenVPN workers and the tunnel, and drains when it is told to stop."""

import logging
import os
import signal
import socket
import struct
import sys
import threading
import time

from standin import tunnel
from standin.api import Api
from standin.clients import Clients
from standin.worker import Worker

# src/utils/config.ts of open-balena-vpn v12.3.105, requiredVar.
_REQUIRED = ("BALENA_API_HOST", "VPN_SERVICE_API_KEY", "VPN_BASE_SUBNET")
# Seconds between tries of the registration, which go on for ever, and between heartbeats (src/utils/service.ts).
_INTERVAL = 10
# The image runs one worker for each CPU. The lab's nodes share one machine, whose CPUs all of them see.
_MOST_WORKERS = 4
# Seconds for the api to hear of the last devices that went; the image leaves that to chance.
_TOLD = 2
_SIOCGIFADDR = 0x8915  # ioctl(2) number of netdevice(7)


def address(interface: str) -> str:
    """The IPv4 address of `interface`: what other replicas and the api reach this very task by."""
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, struct.pack("256s", interface.encode()[:15]))
    return socket.inet_ntoa(answer[20:24])


def register(api: Api, own: str, stopping: threading.Event) -> int:
    """Whatever the reason of a failure, it is tried again: a refused key too."""
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
    """New devices go elsewhere, since /ping fails by now; those here are ended one by one, in each worker at once."""
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
