#!/bin/bash
# The image's command, as in open-balena-api 49.0.12 (Dockerfile, entry.sh): the process's environment is only what
# config/env contains. A deployment may append to that file before it runs this.
set -euo pipefail
exec 2>&1
cd /usr/src/app
export LANG=C.UTF-8 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
exec envfile config/env python3 -m standin
