#!/bin/sh
# Like the official image's entrypoint (redis/docker-library-redis, docker-entrypoint.sh): a command other than
# redis-server is run unchanged, and the arguments of redis-server may begin with the path of a configuration that the
# user redis can read. In images of Redis 8, REDIS_PASSWORD becomes the password of the user default. Data and the
# append-only file are in /data.
set -eu
[ "$1" = redis-server ] || exec "$@"
shift
chown redis:redis /data
[ -z "${REDIS_PASSWORD:-}" ] || set -- "$@" --requirepass "$REDIS_PASSWORD"
exec setpriv --reuid=redis --regid=redis --init-groups --inh-caps=-all \
    redis-server "$@" --bind 0.0.0.0 --protected-mode no --dir /data --appendonly yes --logfile ''
