#!/bin/bash
# What the image runs by default: the service, with what config/env holds as its environment.
set -eu
set -a
# shellcheck source=/dev/null
. /usr/src/app/config/env
set +a
exec python3 -m standin
