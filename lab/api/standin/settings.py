"""The api's settings from the environment, with the real image's names."""

import base64
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass

from . import migrations

# open-balena-api 49.0.12, src/lib/config.ts; @balena/env-parsing treats empty as unset.
_REQUIRED = (
    *("API_HOST", "API_VPN_SERVICE_API_KEY", "COOKIE_SESSION_SECRET", "DELTA_HOST", "DEVICE_CONFIG_OPENVPN_CA"),
    *("IMAGE_STORAGE_BUCKET", "IMAGE_STORAGE_ENDPOINT", "JSON_WEB_TOKEN_SECRET", "MIXPANEL_TOKEN", "REDIS_HOST"),
    *("REGISTRY2_HOST", "TOKEN_AUTH_BUILDER_TOKEN", "TOKEN_AUTH_CERT_ISSUER", "TOKEN_AUTH_CERT_KEY"),
    *(
        "TOKEN_AUTH_CERT_KID",
        "TOKEN_AUTH_CERT_PUB",
        "TOKEN_AUTH_JWT_ALGO",
        "VPN_HOST",
        "VPN_PORT",
        "VPN_SERVICE_API_KEY",
    ),
)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class ImageStore:
    """The store of device type images; without keys, requests are not signed."""

    endpoint: str
    bucket: str
    prefix: str
    by_path: bool
    access_key: str
    secret_key: str


@dataclass(frozen=True)
class StandIn:
    """Settings that exist only in this stand-in (STAND_IN_*, README.md).

    `contracts_seconds` is None if contracts are never fetched; `newest_migration` is the number of the last migration
    that it knows; `worker_memory` is in MiB.
    """

    contracts_seconds: float | None
    start_seconds: float
    migration_seconds: float
    newest_migration: int
    worker_memory: int


@dataclass(frozen=True)
class Settings:
    """Times are in seconds; keys and key ids are decoded from the base64 of the configure step, untrimmed."""

    port: int
    database_url: str
    pool_size: int
    statement_timeout: float
    image_store: ImageStore
    contracts_source: str
    stand_in: StandIn
    redis_host: str
    redis_port: int
    redis_name: str | None
    redis_password: str | None
    superuser_email: str
    superuser_password: str
    session_secret: str
    session_lifetime: int
    builder_token: str
    api_host: str
    registry_host: str
    token_issuer: str
    token_algorithm: str
    token_key: bytes
    token_kid: str
    vpn_service_key: str
    device_authority: str
    trusted_proxies: tuple[Network, ...]


def load(environment: Mapping[str, str] = os.environ) -> Settings:
    """Raises SystemExit with the missing or empty variables, without which the real api's workers also die."""
    missing = [name for name in _REQUIRED if not environment.get(name)]
    if missing:
        raise SystemExit(f"not set: {', '.join(missing)}")
    redis_host, _, redis_port = environment["REDIS_HOST"].partition(":")
    redis_name, redis_password = _redis_auth(environment.get("REDIS_AUTH", ""))
    return Settings(
        port=int(environment["PORT"]),
        # The image's template does not escape the password: one that breaks the URL must also fail here.
        database_url=environment["DATABASE_URL"],
        pool_size=int(environment["DB_POOL_SIZE"]),
        # Milliseconds (open-balena-api 49.0.12, src/lib/config.ts).
        statement_timeout=int(environment.get("DB_STATEMENT_TIMEOUT") or "60000") / 1000,
        image_store=_image_store(environment),
        contracts_source=_contracts_source(environment),
        stand_in=stand_in(environment),
        redis_host=redis_host,
        redis_port=int(redis_port or "6379"),
        redis_name=redis_name,
        redis_password=redis_password,
        superuser_email=environment.get("SUPERUSER_EMAIL", ""),
        superuser_password=environment.get("SUPERUSER_PASSWORD", ""),
        session_secret=environment["JSON_WEB_TOKEN_SECRET"],
        session_lifetime=60 * int(environment.get("JSON_WEB_TOKEN_EXPIRY_MINUTES") or "10080"),
        builder_token=environment["TOKEN_AUTH_BUILDER_TOKEN"],
        api_host=environment["API_HOST"],
        registry_host=environment["REGISTRY2_HOST"],
        token_issuer=environment["TOKEN_AUTH_CERT_ISSUER"],
        token_algorithm=environment["TOKEN_AUTH_JWT_ALGO"],
        token_key=base64.b64decode(environment["TOKEN_AUTH_CERT_KEY"]),
        token_kid=base64.b64decode(environment["TOKEN_AUTH_CERT_KID"]).decode(),
        vpn_service_key=environment["VPN_SERVICE_API_KEY"],
        device_authority=base64.b64decode(environment["DEVICE_CONFIG_OPENVPN_CA"]).decode(),
        trusted_proxies=tuple(
            ipaddress.ip_network(part.strip(), strict=False)
            for part in environment.get("TRUST_PROXY", "").split(",")
            if part.strip()
        ),
    )


def _redis_auth(pair: str) -> tuple[str | None, str | None]:
    """Name and password (open-balena-api 49.0.12, src/lib/config.ts, redisAuthVar): `password`, or `name:password`."""
    parts = pair.strip().split(":")
    if len(parts) > 2:
        raise SystemExit("'REDIS_AUTH' must be in one of the following forms 'username:password', 'password'")
    return (parts[0] or None) if len(parts) == 2 else None, parts[-1] or None


def _image_store(environment: Mapping[str, str]) -> ImageStore:
    return ImageStore(
        endpoint=environment["IMAGE_STORAGE_ENDPOINT"],
        bucket=environment["IMAGE_STORAGE_BUCKET"],
        prefix=environment.get("IMAGE_STORAGE_PREFIX") or "images",
        by_path=environment.get("IMAGE_STORAGE_FORCE_PATH_STYLE") in ("true", "1"),
        access_key=environment.get("IMAGE_STORAGE_ACCESS_KEY", ""),
        secret_key=environment.get("IMAGE_STORAGE_SECRET_KEY", ""),
    )


def _contracts_source(environment: Mapping[str, str]) -> str:
    """The host is fixed (open-balena-api 49.0.12, src/features/contracts/contracts-directory.ts)."""
    owner = environment.get("CONTRACTS_PUBLIC_REPO_OWNER") or "balena-io"
    name = environment.get("CONTRACTS_PUBLIC_REPO_NAME") or "contracts"
    return f"https://api.github.com/repos/{owner}/{name}/tarball/{environment.get('CONTRACTS_PUBLIC_REPO_BRANCH', '')}"


def stand_in(environment: Mapping[str, str] = os.environ) -> StandIn:
    """The STAND_IN_* variables, with their defaults."""
    seconds = environment.get("STAND_IN_CONTRACTS_SECONDS") or "2"
    return StandIn(
        contracts_seconds=None if seconds == "never" else float(seconds),
        start_seconds=float(environment.get("STAND_IN_START_SECONDS") or "0.5"),
        migration_seconds=float(environment.get("STAND_IN_MIGRATION_SECONDS") or "0"),
        newest_migration=int(environment.get("STAND_IN_NEWEST_MIGRATION") or migrations.NEWEST),
        worker_memory=int(environment.get("STAND_IN_WORKER_MEMORY") or "0"),
    )
