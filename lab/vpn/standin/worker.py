"""One OpenVPN process, controlled over its management port."""

import contextlib
import logging
import socket
import subprocess
import threading
import time

# As in src/vpn-worker.ts of open-balena-vpn v12.3.105: ports by number, at most 120 ms between disconnects (500 per
# minute), and device addresses from 100.64.0.0/10, at most a /16 per worker (src/utils/config.ts).
_PORT, _MANAGEMENT, _SPACING = 10000, 20000, 0.12
_SUBNET = "100.{}.0.0 255.255.0.0"
_HAPROXY = "/run/haproxy.sock"
# Seconds until the management port must answer.
_PATIENCE = 5


class Worker:
    """The worker `number`, from 1; a process that exits is restarted, as by the image's primary process."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._stream: socket.socket | None = None

    def run(self) -> None:
        """Run it in the background until the program exits."""
        threading.Thread(target=self._keep, daemon=True).start()

    def drain(self, uuids: list[str], bound: float) -> None:
        """Accept no new clients, and disconnect those of `uuids` one by one within `bound` seconds."""
        _haproxy(f"set server vpn-workers/vpn{self._number} state drain")
        for uuid in uuids:
            logging.info("connection draining %s", uuid)
            with contextlib.suppress(OSError):
                self._say(f"kill {uuid}")
            time.sleep(min(_SPACING, bound / len(uuids)))

    def _keep(self) -> None:
        while True:
            with subprocess.Popen(self._command(), stdin=subprocess.DEVNULL) as process:
                try:
                    self._connect()
                except OSError as error:
                    logging.error(
                        "worker-%d: cannot use its management port or HAProxy's socket: %s", self._number, error
                    )
                    process.kill()
            logging.critical("worker-%d exited with code %d", self._number, process.returncode)
            time.sleep(1)

    def _command(self) -> list[str]:
        number = self._number
        return [
            *("openvpn", "--config", "/etc/vpn/openvpn.conf", "--dev", f"tun{number}", "--port", f"{_PORT + number}"),
            *("--management", "127.0.0.1", f"{_MANAGEMENT + number}", "--management-hold"),
            *("--server", *_SUBNET.format(63 + number).split()),
        ]

    def _connect(self) -> None:
        """Let OpenVPN start, and register it with HAProxy. Raises OSError if it does not answer or has exited."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self._stream = socket.create_connection(("127.0.0.1", _MANAGEMENT + self._number), _PATIENCE)
                break
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        self._stream.settimeout(None)
        threading.Thread(target=_discard, args=(self._stream,), daemon=True).start()
        self._say("hold release")
        server = f"set server vpn-workers/vpn{self._number}"
        _haproxy(f"{server} addr 127.0.0.1 port {_PORT + self._number};{server} state ready")

    def _say(self, line: str) -> None:
        if self._stream:
            self._stream.sendall(f"{line}\n".encode())


def _discard(stream: socket.socket) -> None:
    """Discard the management port's output: OpenVPN would block without a reader."""
    with contextlib.suppress(OSError):
        while stream.recv(65536):
            pass


def _haproxy(command: str) -> None:
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(_PATIENCE)
        stream.connect(_HAPROXY)
        stream.sendall(f"{command}\n".encode())
        while stream.recv(4096):
            pass
