"""Entry: settings, database, routes, server."""

from standin import settings
from standin.api import Api
from standin.auth import Sessions
from standin.server import Server
from standin.store import Store

# Seconds to wait for the database at start; then it exits and Swarm starts a new task.
DATABASE_PATIENCE = 120.0


def main() -> None:
    """Serve until SIGTERM."""
    values = settings.load()
    store = Store(values.database_url)
    store.prepare(values.superuser_email, values.superuser_password, DATABASE_PATIENCE)
    server = Server(values.port, Api(values, store, Sessions(values)).routes())
    print(f"listening on {values.port}", flush=True)
    server.run()
    print("stopped", flush=True)


if __name__ == "__main__":
    main()
