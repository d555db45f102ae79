"""Which Compose profiles the settings ask for: the one place that both modes take it from."""

from collections.abc import Mapping

# Profiles of docker-compose.yml that follow from settings, in the order they are written.
DERIVED = ("internal-postgres", "internal-s3", "acme", "admin", "builder", "tunnel")


def profiles(values: Mapping[str, str]) -> list[str]:
    """The profiles that `values` ask for.

    The internal database and store run unless there is an external one, in a cluster cert-manager where it has an
    address and a DNS provider's token for ACME, cloudflared where it has its token.
    """
    asked = set(values.get("PROFILES", "").split(","))
    dns_provider = values.get("CLOUDFLARE_API_TOKEN") or values.get("GANDI_API_TOKEN")
    wanted = {
        "internal-postgres": values.get("EXTERNAL_POSTGRES") != "true",
        "internal-s3": values.get("EXTERNAL_S3") != "true",
        "acme": bool(values.get("ACME_EMAIL") and dns_provider),
        "admin": "admin" in asked,
        "builder": "builder" in asked,
        "tunnel": bool(values.get("TUNNEL_TOKEN")),
    }
    return [name for name in DERIVED if wanted[name]]


def stale(values: Mapping[str, str], sources: Mapping[str, str]) -> list[str]:
    """A sentence where COMPOSE_PROFILES, changed by hand or left behind by other settings, is not what they make it."""
    where = sources.get("COMPOSE_PROFILES")
    running = {name for name in values.get("COMPOSE_PROFILES", "").split(",") if name in DERIVED}
    wanted = set(profiles(values))
    if where is None or running == wanted:
        return []
    differ = ", ".join(sorted(running ^ wanted))
    return [f"{where}: COMPOSE_PROFILES is not what the other settings make it ({differ}): run ./open-balena.sh config"]
