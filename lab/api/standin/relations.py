"""Related rows in OData responses: a list if `$expand` asks for it, otherwise `{"__id": id}`."""

from .odata import expanded
from .store import Row, Store

_Query = dict[str, list[str]]


def application(store: Store, row: Row, query: _Query) -> Row:
    """With its device type, organization and, if requested, devices; it has no releases."""
    related = {**row, "organization": {"__id": row["organization"]}, "owns__release": []}
    kind = row["is_for__device_type"]
    related["is_for__device_type"] = _types(store, kind) if expanded(query, "is_for__device_type") else {"__id": kind}
    if expanded(query, "owns__device"):
        devices = store.rows("SELECT * FROM device WHERE belongs_to__application = %s ORDER BY id", (row["id"],))
        related["owns__device"] = [device(store, each, query) for each in devices]
    return related


def device(store: Store, row: Row, query: _Query) -> Row:
    """Without its key. In this stand-in a device has its application's type and runs nothing."""
    fleet = store.rows(
        "SELECT id, app_name, slug, is_for__device_type FROM application WHERE id = %s",
        (row["belongs_to__application"],),
    )
    kind = fleet[0].pop("is_for__device_type")
    return {
        **{name: value for name, value in row.items() if name != "api_key"},
        # The real api generates a name of two parts.
        "device_name": row["uuid"][:7],
        "is_online": row["is_connected_to_vpn"],
        "overall_status": "reduced-functionality" if row["is_connected_to_vpn"] else "disconnected",
        "is_managed_by__service_instance": store.rows(
            "SELECT id, ip_address FROM service_instance WHERE id = %s", (row["is_managed_by__service_instance"],)
        ),
        "belongs_to__application": fleet if expanded(query, "belongs_to__application") else {"__id": fleet[0]["id"]},
        "is_of__device_type": _types(store, kind) if expanded(query, "is_of__device_type") else {"__id": kind},
        "is_running__release": [],
    }


def _types(store: Store, kind: int) -> list[Row]:
    rows = store.rows("SELECT id, slug, name FROM device_type WHERE id = %s", (kind,))
    return [{**row, "is_of__cpu_architecture": [{"slug": "amd64"}]} for row in rows]
