"""The registry's connections to its cache, authenticated with the user that distribution 3 is configured with.

Distribution 3.0.0 reads REGISTRY_REDIS_OPTIONS_USERNAME and _PASSWORD from its environment (configuration/parser.go,
overwriteStruct: each word between underscores is a field), and its client go-redis 9.7 sends them when it connects
(redis.go, initConn). If Redis rejects them, pushes and pulls work without the cache, but blobs cannot be deleted: tried
with distribution 3.0.0 and Redis 7.0. Debian's 2.8 does not support user names, so it connects to this process, which
authenticates in its place.
"""

import os
import socket
import sys
import threading
from collections.abc import Mapping

ADDRESS = ("127.0.0.1", 6379)
# Seconds.
_PATIENCE = 5


def start(cache: str, environment: Mapping[str, str]) -> str:
    """The address at which the registry can reach `cache` (host:port).

    With a password, it is that of a process that authenticates with it, and exits with the container.
    """
    password = environment.get("REGISTRY_REDIS_OPTIONS_PASSWORD", "")
    if not password:
        return cache
    # go-redis sends no name without a password; without a name, the password is that of the user default.
    name = environment.get("REGISTRY_REDIS_OPTIONS_USERNAME", "")
    host, _, port = cache.partition(":")
    listener = socket.create_server(ADDRESS, backlog=64)
    if os.fork() == 0:
        _serve(listener, (host, int(port)), [name, password] if name else [password])
    listener.close()
    return "{}:{}".format(*ADDRESS)


def _serve(listener: socket.socket, cache: tuple[str, int], credentials: list[str]) -> None:
    while True:
        client, _ = listener.accept()
        threading.Thread(target=_relay, args=(client, cache, credentials), daemon=True).start()


def _relay(client: socket.socket, cache: tuple[str, int], credentials: list[str]) -> None:
    arguments = ["AUTH", *credentials]
    command = f"*{len(arguments)}\r\n" + "".join(f"${len(each)}\r\n{each}\r\n" for each in arguments)
    try:
        with client, socket.create_connection(cache, _PATIENCE) as server:
            server.sendall(command.encode())
            # No other request is pending, so this is the whole response.
            answer = server.recv(1024)
            if not answer.startswith(b"+OK"):
                print(
                    f"registry: Redis rejected the cache's user: {answer.decode().strip()}", file=sys.stderr, flush=True
                )
                return
            server.settimeout(None)
            threading.Thread(target=_copy, args=(server, client), daemon=True).start()
            _copy(client, server)
    except OSError as error:
        print(f"registry: the cache cannot be reached: {error}", file=sys.stderr, flush=True)


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for each in (source, target):
            each.close()
