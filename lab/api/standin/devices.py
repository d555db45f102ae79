"""Requests of devices with their own keys, and the VPN's reports about devices."""

import json
import secrets
from typing import Any

from .heartbeat import Heartbeats
from .server import Request, Response, Route
from .store import Row, Store

_UNAUTHORIZED = Response(401, "Unauthorized")


class Devices:
    """The VPN authenticates with `vpn_key`."""

    def __init__(self, store: Store, heartbeats: Heartbeats, vpn_key: str) -> None:
        self._store = store
        self._heartbeats = heartbeats
        self._vpn_key = vpn_key

    def routes(self) -> list[Route]:
        """For server.Server."""
        return [
            ("GET", "/device/v3/(?P<uuid>[0-9a-f]+)/state", self.state),
            ("PATCH", "/device/v3/state", self.report),
            ("GET", "/services/vpn/auth/(?P<uuid>[0-9a-f]+)", self.vpn_auth),
            ("POST", "/services/vpn/client-connect", self.vpn_connect),
            ("POST", "/services/vpn/client-disconnect", self.vpn_disconnect),
        ]

    def state(self, request: Request) -> Response:
        """The target state, without apps. An unknown device gets 304 (not modified)."""
        device = self._device(request.parameters["uuid"])
        if not device:
            return Response(304)
        if not equal(device["api_key"], request.bearer):
            return _UNAUTHORIZED
        self._heartbeats.capture(device["id"])
        return Response(200, {device["uuid"]: {"name": device["uuid"][:7], "apps": {}, "config": {}}})

    def report(self, request: Request) -> Response:
        """{uuid: state} for one device."""
        for uuid, reported in request.body.items():
            device = self._device(uuid)
            if not device or not equal(device["api_key"], request.bearer):
                return _UNAUTHORIZED
            self._store.rows("UPDATE device SET reported_state = %s WHERE uuid = %s", (json.dumps(reported), uuid))
        return Response(200) if request.body else Response(400, "a device's state is required")

    def vpn_auth(self, request: Request) -> Response:
        """Whether the request's key may open the device's tunnel."""
        device = self._device(request.parameters["uuid"])
        return Response(200) if device and equal(device["api_key"], request.bearer) else _UNAUTHORIZED

    def vpn_connect(self, request: Request) -> Response:
        """{common_name, virtual_address, service_id} from a VPN task."""
        return self._tunnel(request, "virtual_address", request.body.get("virtual_address"))

    def vpn_disconnect(self, request: Request) -> Response:
        """{common_name, service_id} from a VPN task."""
        return self._tunnel(request, None, None)

    def _device(self, uuid: str) -> Row | None:
        rows = self._store.rows("SELECT id, uuid, api_key FROM device WHERE uuid = %s", (uuid,))
        return rows[0] if rows else None

    def _tunnel(self, request: Request, needed: str | None, address: Any) -> Response:
        if not equal(request.bearer, self._vpn_key):
            return _UNAUTHORIZED
        uuid, service = request.body.get("common_name"), request.body.get("service_id")
        if not uuid or not service or (needed and not address):
            return Response(400, "common_name, service_id and, on connect, virtual_address are required")
        if address:
            self._store.rows(
                "UPDATE device SET is_connected_to_vpn = true, vpn_address = %s, is_managed_by__service_instance = %s "
                "WHERE uuid = %s",
                (address, service, uuid),
            )
        else:
            self._store.rows(
                "UPDATE device SET is_connected_to_vpn = false, vpn_address = NULL "
                "WHERE uuid = %s AND is_managed_by__service_instance = %s",
                (uuid, service),
            )
        return Response(200)


def equal(one: str, other: str) -> bool:
    """Compare in constant time."""
    return secrets.compare_digest(one.encode(), other.encode())
