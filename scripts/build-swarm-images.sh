#!/usr/bin/env bash
# Builds all images of the stack and copies them to the nodes; the same as `open-balena.sh swarm-build`, with its options.
# For example: scripts/build-swarm-images.sh --node root@node2 --node root@node3
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/../open-balena.sh" swarm-build "$@"
