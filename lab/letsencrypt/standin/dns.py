"""The TXT records that pebble's DNS server serves."""

import json
import threading
import urllib.request
from dataclasses import dataclass, field

_TIMEOUT = 5


@dataclass
class Dns:
    """`server` is the management address of pebble-challtestsrv; records are (name, value) by an id of ours."""

    server: str
    records: dict[str, tuple[str, str]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _made: int = 0

    def add(self, name: str, value: str) -> str:
        with self._lock:
            self._made += 1
            identity = f"{self._made:032x}"
            self.records[identity] = (name, value)
            self._ask("set-txt", name, value)
            return identity

    def remove(self, identity: str) -> None:
        with self._lock:
            name, _ = self.records.pop(identity)
            self._ask("clear-txt", name)
            for other, value in self.records.values():
                if other == name:
                    self._ask("set-txt", name, value)

    def _ask(self, action: str, name: str, value: str = "") -> None:
        body = json.dumps({"host": f"{name}.", "value": value}).encode()
        with urllib.request.urlopen(f"{self.server}/{action}", body, timeout=_TIMEOUT):  # noqa: S310 (our own server)
            pass
