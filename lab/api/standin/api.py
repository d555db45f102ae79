"""The API's paths. They behave as in the real api; only /stand-in/ is ours."""

import re
import secrets
import socket

from . import odata, relations
from .auth import Sessions, registry_token
from .client import Client
from .client_address import client_address
from .devices import Devices, equal
from .server import Request, Response, Route
from .settings import Settings
from .store import Row, Store

_VERSION = r"/v\d+"
_SCOPE = re.compile(r"repository:(?P<name>[a-z0-9_.-]+(?:/[a-z0-9_.-]+)+):(?P<actions>[a-z,]+)")
_UNAUTHORIZED = Response(401, "Unauthorized")

# The fields of each resource that can be read and used in filters.
_RESOURCES = {
    "application": ("id", "app_name", "slug", "uuid", "organization", "is_for__device_type"),
    "device": (
        *("id", "uuid", "belongs_to__application"),
        *("is_connected_to_vpn", "vpn_address", "is_managed_by__service_instance"),
    ),
    "device_type": ("id", "slug", "name"),
    "organization": ("id", "name", "handle"),
    "service_instance": ("id", "ip_address", "last_heartbeat"),
}

_RELATIONS = {"application": relations.application, "device": relations.device}


class Api:
    """The state that the paths share."""

    def __init__(self, settings: Settings, store: Store, sessions: Sessions, devices: Devices) -> None:
        self._settings = settings
        self._store = store
        self._sessions = sessions
        self._devices = devices

    def routes(self) -> list[Route]:
        """For server.Server."""
        resource = "|".join(_RESOURCES)
        return [
            *Client(self._settings, self._store, self._sessions).routes(),
            ("GET", "/ping", lambda _: Response(200, "OK")),
            ("POST", "/login_", self.login),
            ("GET", "/user/v1/whoami", self.whoami),
            ("GET", "/os/v1/config/?", self.os_config),
            ("GET", "/auth/v1/token", self.token),
            ("GET", rf"{_VERSION}/(?P<resource>{resource})(?:\((?P<key>[^)]*)\))?", self.read),
            ("POST", f"{_VERSION}/application", self.create_application),
            ("DELETE", rf"{_VERSION}/application\((?P<id>\d+)\)", self.delete_application),
            ("POST", r"/api-key/application/(?P<id>\d+)/provisioning", self.provisioning_key),
            ("POST", "/device/register", self.register_device),
            ("POST", f"{_VERSION}/service_instance", self.register_service),
            ("PATCH", rf"{_VERSION}/service_instance\((?P<id>\d+)\)", self.heartbeat),
            ("GET", "/stand-in/client", self.client),
            *self._devices.routes(),
        ]

    def login(self, request: Request) -> Response:
        """{username, password}: the session's JWT as text."""
        name, password = request.body.get("username"), request.body.get("password")
        user = self._store.user(str(name), str(password)) if name and password else None
        return Response(200, self._sessions.begin(user)) if user else _UNAUTHORIZED

    def whoami(self, request: Request) -> Response:
        """The user behind the JWT."""
        user = self._sessions.user(request.bearer)
        return Response(200, {key: user[key] for key in ("id", "username", "email")}) if user else _UNAUTHORIZED

    def os_config(self, request: Request) -> Response:
        """What balenaOS requests and uses: the CA with which it verifies the VPN."""
        return Response(200, {"services": {"openvpn": {"ca": self._settings.device_authority}}})

    def token(self, request: Request) -> Response:
        """The registry's token server (distribution.github.io/distribution/spec/auth/token/)."""
        name, secret = request.basic
        secret = secret or request.bearer
        if not secret:
            allowed: set[str] = set()
        elif equal(secret, self._settings.builder_token) or self._sessions.user(secret):
            allowed = {"pull", "push"}
        elif self._store.rows("SELECT 1 FROM device WHERE api_key = %s", (secret,)):
            allowed = {"pull"}
        else:
            return _UNAUTHORIZED
        access = []
        for scope in request.query.get("scope", []):
            match = _SCOPE.fullmatch(scope)
            if match:
                actions = [action for action in match["actions"].split(",") if action in allowed]
                access.append({"type": "repository", "name": match["name"], "actions": actions})
        return Response(200, {"token": registry_token(self._settings, name, access)})

    def read(self, request: Request) -> Response:
        """The subset of OData that the checks, the VPN and balena-cli use: a key or `$filter`, and `$top`."""
        resource = request.parameters["resource"]
        fields = _RESOURCES[resource]
        if not (self._sessions.user(request.bearer) or self._is_vpn(request)):
            return _UNAUTHORIZED
        key, filtered = request.parameters["key"], request.query.get("$filter", [""])[0]
        try:
            where, values = odata.condition(filtered, fields) if key is None else odata.key(key, fields)
        except ValueError as error:
            return Response(400, str(error))
        top = int(request.query.get("$top", ["1000"])[0])
        statement = f'SELECT {", ".join(fields)} FROM "{resource}" WHERE {where}'  # noqa: S608 (names of ours only)
        rows = self._store.rows(f"{statement} ORDER BY id LIMIT %s", (*values, top))
        return Response(200, {"d": [self._expand(resource, row, request.query) for row in rows]})

    def _expand(self, resource: str, row: Row, query: dict[str, list[str]]) -> Row:
        if resource == "service_instance":
            row["last_heartbeat"] = row["last_heartbeat"].isoformat()
        expand = _RELATIONS.get(resource)
        return expand(self._store, row, query) if expand else row

    def create_application(self, request: Request) -> Response:
        """{app_name, organization, is_for__device_type}, the last two by id."""
        if not self._sessions.user(request.bearer):
            return _UNAUTHORIZED
        name = str(request.body.get("app_name", ""))
        owner = self._store.rows("SELECT handle FROM organization WHERE id = %s", (request.body.get("organization"),))
        if not re.fullmatch(r"[A-Za-z0-9_-]{4,100}", name) or not owner:
            return Response(400, "app_name needs 4 to 100 letters, digits, - and _; organization an id that exists")
        rows = self._store.rows(
            "INSERT INTO application (app_name, slug, uuid, organization, is_for__device_type, provisioning_key) "
            "VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING id, app_name, slug, uuid",
            (
                name,
                f"{owner[0]['handle']}/{name.lower()}",
                secrets.token_hex(16),
                request.body["organization"],
                request.body["is_for__device_type"],
                secrets.token_hex(16),
            ),
        )
        return Response(201, rows[0]) if rows else Response(409, "an application of that name exists")

    def delete_application(self, request: Request) -> Response:
        """Also deletes its devices."""
        if not self._sessions.user(request.bearer):
            return _UNAUTHORIZED
        self._store.rows("DELETE FROM application WHERE id = %s", (request.parameters["id"],))
        return Response(200, "OK")

    def provisioning_key(self, request: Request) -> Response:
        """The key with which devices join the application."""
        if not self._sessions.user(request.bearer):
            return _UNAUTHORIZED
        rows = self._store.rows("SELECT provisioning_key FROM application WHERE id = %s", (request.parameters["id"],))
        return Response(200, rows[0]["provisioning_key"]) if rows else Response(404, "no such application")

    def register_device(self, request: Request) -> Response:
        """{application, uuid, api_key} with the application's provisioning key."""
        uuid = str(request.body.get("uuid", ""))
        key = str(request.body.get("api_key") or secrets.token_hex(16))
        if not re.fullmatch("[0-9a-f]{32}|[0-9a-f]{62}", uuid):
            return Response(400, "uuid must be 32 or 62 hex digits")
        application = self._store.rows(
            "SELECT id FROM application WHERE id = %s AND provisioning_key = %s",
            (request.body.get("application"), request.bearer),
        )
        if not application:
            return _UNAUTHORIZED
        rows = self._store.rows(
            "INSERT INTO device (uuid, api_key, belongs_to__application) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING "
            "RETURNING id, uuid, api_key",
            (uuid, key, application[0]["id"]),
        )
        return Response(201, rows[0]) if rows else Response(409, "a device of that uuid exists")

    def register_service(self, request: Request) -> Response:
        """A VPN task makes itself known: {ip_address}."""
        if not self._is_vpn(request):
            return _UNAUTHORIZED
        address = request.body.get("ip_address") or self._client(request)
        rows = self._store.rows(
            "INSERT INTO service_instance (ip_address) VALUES (%s) RETURNING id, ip_address", (address,)
        )
        return Response(201, rows[0])

    def heartbeat(self, request: Request) -> Response:
        """A VPN task is still there."""
        if not self._is_vpn(request):
            return _UNAUTHORIZED
        rows = self._store.rows(
            "UPDATE service_instance SET last_heartbeat = now() WHERE id = %s RETURNING id", (request.parameters["id"],)
        )
        return Response(200, "OK") if rows else Response(404, "no such service instance")

    def client(self, request: Request) -> Response:
        """The client's address as the real api would see it, and the task that answers."""
        return Response(200, {"client": self._client(request), "task": socket.gethostname()})

    def _client(self, request: Request) -> str:
        forwarded = ",".join(request.headers.get_all("X-Forwarded-For") or [])
        return client_address(request.peer, forwarded, self._settings.trusted_proxies)

    def _is_vpn(self, request: Request) -> bool:
        return equal(request.bearer, self._settings.vpn_service_key)
