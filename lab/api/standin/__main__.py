"""The entry point: workers, each with settings, database, routes and server."""

import os
import sys
import time

import psycopg2

from . import connections, contracts, image_store, settings, workers
from .api import Api
from .auth import Sessions
from .devices import Devices
from .heartbeat import Heartbeats
from .migrations import ModelExistsError
from .server import Server
from .store import Store


def serve() -> None:
    """Run one worker: serve until killed, or exit if it cannot start."""
    # The real one takes at least this long to load, even if it then dies.
    time.sleep(settings.stand_in().start_seconds)
    values = settings.load()
    store = Store(values.database_url, values.pool_size, values.statement_timeout)
    try:
        store.prepare(values.stand_in.migration_seconds, values.stand_in.newest_migration)
    except (psycopg2.Error, ModelExistsError) as error:
        sys.exit(f"Failed to initialize: {str(error).strip()}")
    if values.superuser_email and values.superuser_password:
        store.ensure_superuser(values.superuser_email, values.superuser_password)
    connection = connections.general(values)
    heartbeats = Heartbeats(connections.queue(values), store)
    heartbeats.start()
    devices = Devices(store, heartbeats, values.vpn_service_key)
    server = Server(values.port, Api(values, store, Sessions(values, connection), devices).routes())
    print(f"Server listening in production mode on port {values.port}", flush=True)
    image_store.ask(store, values.image_store)
    contracts.start(store, values.contracts_source, values.stand_in.contracts_seconds)
    server.serve_forever()


def main() -> None:
    """Run until SIGTERM, which is not handled."""
    workers.run(workers.count(os.environ), serve, settings.stand_in().worker_memory)


if __name__ == "__main__":
    main()
