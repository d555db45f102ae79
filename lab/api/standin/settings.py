"""What the api reads from its environment, under the real image's names."""

import base64
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass

_REQUIRED = (
    *("API_HOST", "COOKIE_SESSION_SECRET", "DB_HOST", "DB_NAME", "DB_PASSWORD", "DB_PORT", "DB_USER"),
    "DEVICE_CONFIG_OPENVPN_CA",
    *("JSON_WEB_TOKEN_SECRET", "REDIS_HOST", "REGISTRY2_HOST", "SUPERUSER_EMAIL", "SUPERUSER_PASSWORD"),
    *("TOKEN_AUTH_BUILDER_TOKEN", "TOKEN_AUTH_CERT_ISSUER", "TOKEN_AUTH_CERT_KEY", "TOKEN_AUTH_CERT_KID"),
    *("VPN_GUEST_API_KEY", "VPN_SERVICE_API_KEY"),
)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Settings:
    """Times are in seconds; keys and key ids are what the base64 of the configure step decodes to, untrimmed."""

    port: int
    database_url: str
    redis_host: str
    redis_port: int
    superuser_email: str
    superuser_password: str
    session_secret: str
    session_lifetime: int
    builder_token: str
    registry_host: str
    token_issuer: str
    token_algorithm: str
    token_key: bytes
    token_kid: str
    vpn_service_key: str
    device_authority: str
    trusted_proxies: tuple[Network, ...]


def load(environment: Mapping[str, str] = os.environ) -> Settings:
    """Raises SystemExit with the names of what is missing: the real api does not start without these either."""
    missing = [name for name in _REQUIRED if not environment.get(name)]
    if missing:
        raise SystemExit(f"not set: {', '.join(missing)}")
    redis_host, _, redis_port = environment["REDIS_HOST"].partition(":")
    return Settings(
        port=int(environment.get("PORT", "80")),
        # The real api puts the password into the URL as it is; a password that breaks the URL must fail here too.
        database_url="postgres://{DB_USER}:{DB_PASSWORD}@{DB_HOST}:{DB_PORT}/{DB_NAME}".format_map(environment),
        redis_host=redis_host,
        redis_port=int(redis_port or "6379"),
        superuser_email=environment["SUPERUSER_EMAIL"],
        superuser_password=environment["SUPERUSER_PASSWORD"],
        session_secret=environment["JSON_WEB_TOKEN_SECRET"],
        session_lifetime=60 * int(environment.get("JSON_WEB_TOKEN_EXPIRY_MINUTES", "10080")),
        builder_token=environment["TOKEN_AUTH_BUILDER_TOKEN"],
        registry_host=environment["REGISTRY2_HOST"],
        token_issuer=environment["TOKEN_AUTH_CERT_ISSUER"],
        token_algorithm=environment.get("TOKEN_AUTH_JWT_ALGO", "ES256"),
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
