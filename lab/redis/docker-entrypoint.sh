#!/bin/sh
# As the official image's entry (redis/docker-library-redis, docker-entrypoint.sh): a command that is not redis-server runs
# as it is, and what follows redis-server may begin with the path of a configuration that the user redis can read. In images
# of Redis 8 a REDIS_PASSWORD that the entry sees becomes the password of the user default. Data in /data, every write
# logged there.
set -eu
[ "$1" = redis-server ] || exec "$@"
shift
chown redis:redis /data
[ -z "${REDIS_PASSWORD:-}" ] || set -- "$@" --requirepass "$REDIS_PASSWORD"
exec setpriv --reuid=redis --regid=redis --init-groups --inh-caps=-all \
    redis-server "$@" --bind 0.0.0.0 --protected-mode no --dir /data --appendonly yes --logfile ''
