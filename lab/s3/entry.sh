#!/bin/bash
# Runs the store with only the environment in config/env (open-balena-s3 3.0.62, config/s6-overlay: open-balena-s3/run); the
# buckets to create are in the environment file, which is read as shell code (scripts/create-buckets.sh).
set -euo pipefail
exec 2>&1
cd /usr/src/app
# shellcheck source=/dev/null
buckets=$(source /etc/docker.env && printf %s "${BUCKETS:-}")
export LANG=C.UTF-8 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
exec envfile config/env python3 -m standin "$buckets"
