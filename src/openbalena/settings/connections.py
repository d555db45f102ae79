"""Whether the database server allows as many connections as the api may open."""

from collections.abc import Mapping

# open-balena-api 49.0, config/confd/templates/env.tmpl: DB_POOL_SIZE, which no variable changes. One for each worker.
POOL = 60
# For others: postgrest's pool (10), health checks, psql, a backup, and PostgreSQL's superuser_reserved_connections (3).
BESIDE_API = 20


def needed(settings: Mapping[str, str], tasks: int) -> int:
    """How many connections may be open with `tasks` tasks of the api running at the same time."""
    return tasks * int(settings["API_WORKERS"]) * POOL + BESIDE_API


def shortage(settings: Mapping[str, str], tasks: int, limit: int) -> str:
    """Why `limit` connections are too few for `tasks` tasks of the api at the same time; empty if they suffice."""
    if (maximum := needed(settings, tasks)) <= limit:
        return ""
    workers = settings["API_WORKERS"]
    return (
        f"the database server allows {limit} connections (max_connections), but up to {maximum} may be needed: "
        f"{tasks} tasks of the api at the same time, with API_WORKERS={workers} and {POOL} connections per worker, and "
        f"{BESIDE_API} for other clients"
    )
