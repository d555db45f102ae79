"""balena-cli's requests other than resources, so that docs/first-device.md can be run against the stand-ins.

Paths and shapes are those of open-balena-api 49: src/features/{auth,api-keys,device-types,device-config}. Not modelled:
permissions (there is one user), expiry of keys, releases, logs, and everything that needs a device.
"""

import secrets

from . import odata
from .auth import Sessions
from .server import Request, Response, Route
from .settings import Settings
from .store import Store

_UNAUTHORIZED = Response(401, "Unauthorized")
# The questions of `config generate`; only their format is that of the real ones.
_QUESTIONS = [
    {"name": "network", "message": "Network Connection", "type": "list", "choices": ["ethernet", "wifi"]},
    {"name": "appUpdatePollInterval", "message": "Check for updates every X minutes", "type": "number", "default": 10},
]


class Client:
    """The state that the paths share."""

    def __init__(self, settings: Settings, store: Store, sessions: Sessions) -> None:
        self._settings = settings
        self._store = store
        self._sessions = sessions

    def routes(self) -> list[Route]:
        """For server.Server."""
        return [
            ("GET", "/actor/v1/whoami", self.whoami),
            ("GET", "/user/v1/refresh-token", self.refresh),
            ("POST", "/api-key/v2/?", self.provisioning_key),
            ("GET", "/device-types/v1", self.device_types),
            ("POST", "/download-config", self.device_config),
            ("POST", r"/api-key/device/(?P<id>\d+)/device-key", self.device_key),
            ("DELETE", r"/v\d+/device", self.delete_device),
        ]

    def whoami(self, request: Request) -> Response:
        """The actor of the JWT; here its id is the user's."""
        user = self._sessions.user(request.bearer)
        if not user:
            return _UNAUTHORIZED
        names = {"username": user["username"], "email": user["email"]}
        return Response(200, {"id": user["id"], "actorType": "user", "actorTypeId": user["id"], **names})

    def refresh(self, request: Request) -> Response:
        """A new JWT for that of a session."""
        user = self._sessions.user(request.bearer)
        return Response(200, self._sessions.begin(user)) if user else _UNAUTHORIZED

    def provisioning_key(self, request: Request) -> Response:
        """{actorType: application, actorTypeId, roles: [provisioning-api-key]}: the key, as text."""
        if not self._sessions.user(request.bearer):
            return _UNAUTHORIZED
        if request.body.get("roles") != ["provisioning-api-key"] or request.body.get("actorType") != "application":
            return Response(400, "this stand-in only creates provisioning keys for applications")
        return self._key_of(request.body.get("actorTypeId"))

    def device_types(self, request: Request) -> Response:
        """All device types with the questions of `config generate`, which the real api reads from an image store."""
        rows = self._store.rows("SELECT slug, name FROM device_type ORDER BY slug")
        return Response(200, [{**row, "arch": "amd64", "options": _QUESTIONS} for row in rows])

    def device_config(self, request: Request) -> Response:
        """{appId, deviceType, version}: config.json with what a device needs to connect to this deployment."""
        user = self._sessions.user(request.bearer)
        if not user:
            return _UNAUTHORIZED
        key = self._key_of(request.body.get("appId"))
        if key.status != 200:
            return key
        return Response(
            200,
            {
                "applicationId": int(request.body["appId"]),
                "deviceType": request.body.get("deviceType"),
                "userId": user["id"],
                "appUpdatePollInterval": 60000 * int(request.body.get("appUpdatePollInterval") or 1),
                "listenPort": 48484,
                "vpnPort": 443,
                "apiEndpoint": f"https://{self._settings.api_host}",
                "registryEndpoint": self._settings.registry_host,
                "apiKey": key.body,
            },
        )

    def delete_device(self, request: Request) -> Response:
        """`$filter=id in (id)`; also deletes its key."""
        if not self._sessions.user(request.bearer):
            return _UNAUTHORIZED
        try:
            where, values = odata.condition(request.query.get("$filter", [""])[0], ("id",))
        except ValueError as error:
            return Response(400, str(error))
        if not values:
            return Response(400, "this stand-in only deletes devices that match a $filter")
        self._store.rows(f"DELETE FROM device WHERE {where}", tuple(values))  # noqa: S608 (a condition of ours)
        return Response(200, "OK")

    def device_key(self, request: Request) -> Response:
        """A new key for the device. It replaces the previous one, which the real api would keep."""
        if not self._sessions.user(request.bearer):
            return _UNAUTHORIZED
        key = str(request.body.get("apiKey") or secrets.token_hex(16))
        rows = self._store.rows(
            "UPDATE device SET api_key = %s WHERE id = %s RETURNING id", (key, request.parameters["id"])
        )
        return Response(200, key) if rows else Response(404, "no such device")

    def _key_of(self, application: object) -> Response:
        rows = self._store.rows("SELECT provisioning_key FROM application WHERE id = %s", (application,))
        return Response(200, rows[0]["provisioning_key"]) if rows else Response(404, "no such application")
