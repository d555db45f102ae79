"""Which Compose profiles the settings enable; cluster and single-machine commands both ask here."""

from collections.abc import Mapping

# Profiles of docker-compose.yml that follow from settings, in the order in which they are written.
DERIVED = ("internal-postgres", "internal-s3", "acme", "admin", "builder", "tunnel")


def profiles(values: Mapping[str, str]) -> list[str]:
    """The profiles that `values` enable.

    The internal database and store run unless there is an external one; in a cluster, cert-manager runs if ACME has an
    e-mail address and a DNS provider's token; cloudflared runs if it has its token.
    """
    requested = set(values.get("PROFILES", "").split(","))
    dns_provider = values.get("CLOUDFLARE_API_TOKEN") or values.get("GANDI_API_TOKEN")
    enabled = {
        "internal-postgres": values.get("EXTERNAL_POSTGRES") != "true",
        "internal-s3": values.get("EXTERNAL_S3") != "true",
        "acme": bool(values.get("ACME_EMAIL") and dns_provider),
        "admin": "admin" in requested,
        "builder": "builder" in requested,
        "tunnel": bool(values.get("TUNNEL_TOKEN")),
    }
    return [name for name in DERIVED if enabled[name]]


def stale_profiles(values: Mapping[str, str], sources: Mapping[str, str]) -> list[str]:
    """A warning if COMPOSE_PROFILES was changed manually, or other settings were changed after it was written."""
    where = sources.get("COMPOSE_PROFILES")
    actual = {name for name in values.get("COMPOSE_PROFILES", "").split(",") if name in DERIVED}
    expected = set(profiles(values))
    if where is None or actual == expected:
        return []
    difference = ", ".join(sorted(actual ^ expected))
    return [f"{where}: COMPOSE_PROFILES does not match the other settings ({difference}): run ./open-balena.sh config"]
