"""The devices connected to this task, and the answers to OpenVPN's hooks."""

import json
import logging
import re
import socketserver
import threading
import urllib.error
from pathlib import Path

from .api import Api
from .hook import SOCKET

_UUID = re.compile("[0-9a-f]{32}|[0-9a-f]{62}")


class Clients:
    """Answers OpenVPN's hooks; `connected` maps a device's uuid to its network device and address in the tunnel."""

    def __init__(self, api: Api, instance: int) -> None:
        self.connected: dict[str, tuple[str, str]] = {}
        self._api = api
        self._instance = instance

    def serve(self) -> None:
        """Answer in the background until the process exits."""
        Path(SOCKET).unlink(missing_ok=True)
        clients = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                event = json.loads(self.rfile.readline())
                self.wfile.write(b"yes" if clients.answer(event) else b"no")

        server = socketserver.ThreadingUnixStreamServer(SOCKET, Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def of(self, worker: int) -> list[str]:
        """The uuids of the devices that are connected to that worker."""
        return [uuid for uuid, (device, _) in list(self.connected.items()) if device == f"tun{worker}"]

    def answer(self, event: dict[str, str]) -> bool:
        """Whether OpenVPN may continue. A device is rejected if its connection cannot be reported to the api."""
        uuid = event["uuid"]
        if not _UUID.fullmatch(uuid):
            return False
        try:
            if event["type"] == "user-pass-verify":
                return self._api.admits(uuid, event["key"])
            if event["type"] == "client-connect":
                self._api.connected(uuid, event["address"], self._instance)
                self.connected[uuid] = (event["device"], event["address"])
            # It may have reconnected to another worker.
            elif self.connected.get(uuid) == (event["device"], event["address"]):
                del self.connected[uuid]
                self._api.disconnected(uuid, self._instance)
        except (OSError, urllib.error.URLError) as error:
            logging.error("%s of %s could not be reported to the api: %s", event["type"], uuid, error)
            return False
        logging.info("%s: %s", event["type"], uuid)
        return True
