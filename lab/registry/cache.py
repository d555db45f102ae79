"""The registry's connections to its cache, as the user that distribution 3 is told.

Distribution 3.0.0 takes REGISTRY_REDIS_OPTIONS_USERNAME and _PASSWORD from its environment (configuration/parser.go,
overwriteStruct: each word between underscores is a field), and its client go-redis 9.7 shows them when it connects
(redis.go, initConn). Where Redis refuses them pushes and pulls go on without the cache, and a blob cannot be deleted:
tried with distribution 3.0.0 and Redis 7.0. Debian's 2.8 knows no user's name, so it connects to this process, which
shows them in its place.
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
    """The address at which the registry reaches `cache` (host:port).

    Where there is a password it is that of a process which shows it, and ends with the container.
    """
    password = environment.get("REGISTRY_REDIS_OPTIONS_PASSWORD", "")
    if not password:
        return cache
    # go-redis shows no name without a password, and without a name the password of the user default.
    name = environment.get("REGISTRY_REDIS_OPTIONS_USERNAME", "")
    host, _, port = cache.partition(":")
    listener = socket.create_server(ADDRESS, backlog=64)
    if os.fork() == 0:
        _serve(listener, (host, int(port)), [name, password] if name else [password])
    listener.close()
    return "{}:{}".format(*ADDRESS)


def _serve(listener: socket.socket, cache: tuple[str, int], shown: list[str]) -> None:
    while True:
        client, _ = listener.accept()
        threading.Thread(target=_relay, args=(client, cache, shown), daemon=True).start()


def _relay(client: socket.socket, cache: tuple[str, int], shown: list[str]) -> None:
    words = ["AUTH", *shown]
    command = f"*{len(words)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
    try:
        with client, socket.create_connection(cache, _PATIENCE) as server:
            server.sendall(command.encode())
            # Nothing else was asked: the answer comes alone.
            answer = server.recv(1024)
            if not answer.startswith(b"+OK"):
                print(
                    f"registry: Redis refused the cache's user: {answer.decode().strip()}", file=sys.stderr, flush=True
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
