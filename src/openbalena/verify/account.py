"""The api: login, sessions, a resource."""

import contextlib
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from openbalena.verify.check import CheckError, Suspect, expect
from openbalena.verify.target import Target
from openbalena.verify.web import Response, Web

# Logins, and uses of each: with round robin and two replicas each token is tried at both, even with other traffic.
_LOGINS, _USES = 4, 4

# Seconds: how long the api may have no device types, how often it is polled, and how often the wait is reported. Its
# job contractSync fetches them every fifth minute, not when it starts (open-balena-api v49.0.12,
# src/features/contracts); the extra minute is for downloading and writing them.
_SYNC, _LOOK, _TOLD = 360.0, 1.0, 5.0
_CONTRACTS = "api.github.com/repos/balena-io/contracts"


def log_in(target: Target, address: str) -> str:
    """A new session's JWT. Raises CheckError."""
    credentials = {"username": target.value("SUPERUSER_EMAIL"), "password": target.value("SUPERUSER_PASSWORD")}
    answer = Web(target).request("POST", address, "api", "/login_", json=credentials)
    if answer.status_code == 401:
        raise CheckError(
            f"login as {credentials['username']} refused at {address}",
            "the api's password differs from the one in .env: deploy again; all api tasks must get the same one",
            Suspect("api", "SUPERUSER_PASSWORD"),
        )
    todo = "sessions require the database and Redis: see the api's logs"
    expect(answer, 200, f"login at {address}", todo, Suspect("api", "REDIS_HOST, DB_HOST"))
    return answer.text.strip().strip('"')


def login(target: Target) -> str:
    """The superuser can log in, a wrong password is refused, and every replica accepts every replica's sessions."""
    for turn in range(_LOGINS):
        token = log_in(target, target.alternate(turn))
        for use in range(_USES):
            address = target.alternate(turn + use)
            answer = query(target, "GET", address, "/user/v1/whoami", token)
            if answer.status_code == 401:
                raise CheckError(
                    f"a session started at {target.alternate(turn)} was refused at {address}",
                    "the api's tasks sign with different secrets: deploy again from one .env",
                    Suspect("api", "JSON_WEB_TOKEN_SECRET"),
                )
            expect(answer, 200, f"whoami at {address}", "see the api's logs", Suspect("api"))
    credentials = {"username": target.value("SUPERUSER_EMAIL"), "password": secrets.token_hex(16)}
    answer = Web(target).request("POST", target.addresses[0], "api", "/login_", json=credentials)
    expect(answer, 401, "login with a wrong password", "expected 401: see the api's logs", Suspect("api"))
    return f"{_LOGINS} sessions, each used {_USES} times; a wrong password refused"


def device_types(target: Target) -> str:
    """The api has a device type; after a first deployment it has none for minutes."""
    _device_type(target, log_in(target, target.addresses[0]))
    return "available, so fleets and devices can be created"


@dataclass(frozen=True)
class Application:
    """A fleet that a check created for itself; `token` is the session that created it."""

    id: int
    name: str
    token: str


@contextlib.contextmanager
def application(target: Target) -> Iterator[Application]:
    """A fleet of the superuser's first organization, deleted at the end. Raises CheckError."""
    token = log_in(target, target.addresses[0])
    fields = {
        "app_name": f"verify-{secrets.token_hex(6)}",
        "organization": _organization(target, token),
        "is_for__device_type": _device_type(target, token),
    }
    answer = query(target, "POST", target.addresses[0], "/v7/application", token, fields)
    expect(answer, 201, "creating a fleet", "see the logs of the api and db", Suspect("api", "DB_HOST"))
    made = Application(int(answer.json()["id"]), str(fields["app_name"]), token)
    try:
        yield made
    finally:
        query(target, "DELETE", target.addresses[0], f"/v7/application({made.id})", token)


def resource(target: Target) -> str:
    """Data written through one ingress address can be read through every other."""
    with application(target) as made:
        for turn in range(2 * len(target.addresses)):
            address = target.alternate(turn + 1)
            path = "/v7/application?$filter=" + quote(f"app_name eq '{made.name}'")
            answer = query(target, "GET", address, path, made.token)
            if [row["id"] for row in rows(answer)] != [made.id]:
                raise CheckError(
                    f"a fleet created at {target.addresses[0]} was not found at {address} ({answer.status_code})",
                    "all tasks of the api must use the same database",
                    Suspect("api", "DB_HOST"),
                )
    return f"written at {target.addresses[0]}, read at {', '.join(sorted(set(target.addresses)))}"


def query(
    target: Target, method: str, address: str, path: str, token: str, fields: Mapping[str, object] | None = None
) -> Response:
    """A request to the api, authenticated with `token`: a session or an API key."""
    return Web(target).request(method, address, "api", path, json=fields, headers=bearer(token))


def rows(answer: Response) -> list[dict[str, Any]]:
    """The resources in the api's response; none if it refused."""
    return list(answer.json()["d"]) if answer.status_code == 200 else []


def bearer(token: str) -> dict[str, str]:
    """The header with a session, an API key or a registry token."""
    return {"Authorization": f"Bearer {token}"}


def _organization(target: Target, token: str) -> int:
    organizations = _some(target, token, "organization")
    if not organizations:
        raise CheckError("the api has no organization", "see the api's logs", Suspect("api"))
    return int(organizations[0]["id"])


def _device_type(target: Target, token: str) -> int:
    """A device type's id; waits for one up to _SYNC seconds. Raises CheckError."""
    begin = next_report = time.monotonic()
    while not (device_types := _some(target, token, "device_type")):
        now = time.monotonic()
        if now - begin >= _SYNC:
            raise CheckError(
                f"the api still has no device type after {_SYNC:.0f} s, so no fleet or device can be created",
                f"it fetches them from {_CONTRACTS} every five minutes: allow its nodes to reach api.github.com on "
                "port 443; if they cannot, its log has `Failed to fetch contracts`",
                Suspect("api"),
            )
        if now >= next_report:
            target.report(
                f"the api has no device type yet: waiting, {now - begin:.0f} of at most {_SYNC:.0f} s, for it to fetch "
                f"them from {_CONTRACTS} (every five minutes)"
            )
            next_report += _TOLD
        time.sleep(_LOOK)
    return int(device_types[0]["id"])


def _some(target: Target, token: str, kind: str) -> list[dict[str, Any]]:
    path = f"/v7/{kind}?$top=1&$select=id"
    answer = query(target, "GET", target.addresses[0], path, token)
    return rows(expect(answer, 200, f"asking for a {kind}", "see the api's logs", Suspect("api")))
