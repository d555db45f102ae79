#!/usr/bin/env bash
# Builds every image of the stack and brings it to every node: `open-balena.sh swarm-build` under a name that says so.
# Options go through, for example: scripts/build-swarm-images.sh --node root@node2 --node root@node3
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/../open-balena.sh" swarm-build "$@"
