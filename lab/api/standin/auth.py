"""Authentication: users by JWT and session, devices and services by API key."""

import secrets
import time
from typing import Any

import jwt

from .connections import Client
from .settings import Settings


class Sessions:
    """A login is a JWT signed with JSON_WEB_TOKEN_SECRET and an entry in Redis; every replica accepts both."""

    def __init__(self, settings: Settings, connection: Client) -> None:
        self._secret = settings.session_secret
        self._lifetime = settings.session_lifetime
        self._redis = connection

    def begin(self, user: dict[str, Any]) -> str:
        """A new session's JWT."""
        now = int(time.time())
        session = secrets.token_hex(16)
        self._redis.call("set", f"session:{session}", user["id"], ex=self._lifetime)
        claims = {"id": user["id"], "username": user["username"], "email": user["email"], "jti": session}
        token: str = jwt.encode({**claims, "iat": now, "exp": now + self._lifetime}, self._secret, algorithm="HS256")
        return token

    def user(self, token: str) -> dict[str, Any] | None:
        """The claims of a JWT that is valid and whose session still exists."""
        try:
            claims: dict[str, Any] = jwt.decode(token, self._secret, algorithms=["HS256"])
        except jwt.InvalidTokenError:
            return None
        return claims if self._redis.call("exists", f"session:{claims.get('jti')}") else None


def registry_token(settings: Settings, subject: str, access: list[dict[str, Any]]) -> str:
    """A token for the registry: claims as in distribution.github.io/distribution/spec/auth/jwt/; good for 4 hours."""
    now = int(time.time())
    claims = {
        "iss": settings.token_issuer,
        "sub": subject,
        "aud": settings.registry_host,
        "iat": now,
        "nbf": now - 10,
        "exp": now + 4 * 3600,
        "jti": secrets.token_hex(16),
        "access": access,
    }
    token: str = jwt.encode(
        claims, settings.token_key, algorithm=settings.token_algorithm, headers={"kid": settings.token_kid}
    )
    return token
