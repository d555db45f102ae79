"""The VPN's requests to the api: the paths of the real one, over TLS at API_HOST."""

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

# Seconds for one response.
_TIMEOUT = 5


class Api:
    """The api at `host`; `key` is VPN_SERVICE_API_KEY."""

    def __init__(self, host: str, key: str) -> None:
        self._base = f"https://{host}"
        self._key = key

    def register(self, address: str) -> int:
        """The id of this task as a service instance. Raises OSError (HTTPError if the key is rejected)."""
        return int(self._ask("POST", "/v7/service_instance", self._key, {"ip_address": address})["id"])

    def heartbeat(self, instance: int) -> None:
        """Raises OSError."""
        self._ask("PATCH", f"/v7/service_instance({instance})", self._key, {"is_alive": True})

    def admits(self, uuid: str, key: str) -> bool:
        """Whether `key` belongs to the device. Raises OSError if the api does not answer."""
        try:
            self._ask("GET", f"/services/vpn/auth/{urllib.parse.quote(uuid, safe='')}", key)
        except urllib.error.HTTPError as error:
            if error.code in (401, 403, 404):
                return False
            raise
        return True

    def connected(self, uuid: str, address: str, instance: int) -> None:
        """Raises OSError."""
        body = {"common_name": uuid, "virtual_address": address, "service_id": instance}
        self._ask("POST", "/services/vpn/client-connect", self._key, body)

    def disconnected(self, uuid: str, instance: int) -> None:
        """Raises OSError."""
        self._ask("POST", "/services/vpn/client-disconnect", self._key, {"common_name": uuid, "service_id": instance})

    def task_of(self, uuid: str, key: str) -> str | None:
        """The address of the VPN task to which the device is connected, if `key` may access it. Raises OSError."""
        query = urllib.parse.urlencode({"$filter": f"uuid eq '{uuid}'"})
        rows = self._ask("GET", f"/v7/device?{query}", key)["d"]
        instances = rows[0]["is_managed_by__service_instance"] if rows else []
        return instances[0]["ip_address"] if instances and rows[0]["is_connected_to_vpn"] else None

    def _ask(self, method: str, path: str, key: str, body: dict[str, Any] | None = None) -> Any:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data, headers, method=method)  # noqa: S310 (always https)
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
            content = answer.read()
        try:
            return json.loads(content or b"null")
        except ValueError:
            return content.decode()
