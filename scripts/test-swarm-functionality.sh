#!/bin/sh
# Tests the life cycle of a deployment on the local cluster: lab, config, init, build, up, status, logs, verify, scale, down.
# Prints one line per check and always takes the lab down at the end. Needs root on Linux.
#
# Usage: scripts/test-swarm-functionality.sh
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
# The lab's directory, which contains its docker program; existing roots are reused.
: "${OPEN_BALENA_LAB_DIR:=/var/lib/open-balena-lab}"
export OPEN_BALENA_LAB_DIR
work=$(mktemp -d)
passed=0
started=$(date +%s)

say() {
    printf '[%3d s] %s\n' "$(($(date +%s) - started))" "$*"
}

# Runs a command on the lab, with this run's project directory.
tool() {
    "$root/open-balena.sh" --lab --project-directory "$work" "$@"
}

finish() {
    status=$?
    trap - EXIT INT TERM
    say "taking the lab down"
    "$root/open-balena.sh" lab down >"$work/down.log" 2>&1 || {
        cat "$work/down.log"
        status=1
    }
    rm -rf "$work"
    if [ "$status" -eq 0 ]; then
        say "all $passed checks passed"
    else
        say "failed after $passed passed checks"
    fi
    exit "$status"
}

# check NAME COMMAND…: COMMAND must succeed; its output is shown only if it does not.
check() {
    name=$1
    shift
    if "$@" >"$work/output.log" 2>&1; then
        passed=$((passed + 1))
        say "ok    $name"
    else
        say "FAIL  $name: $*"
        cat "$work/output.log"
        return 1
    fi
}

# The number of running tasks of a service, according to the swarm.
running() {
    tool swarm-status --json | python3 -c '
import json, sys
services = json.load(sys.stdin)["services"]
print(next(item["running"] for item in services if item["name"] == sys.argv[1]))' "$1"
}

# wait_for SECONDS COUNT SERVICE
wait_for() {
    left=$1
    while [ "$(running "$3")" != "$2" ]; do
        [ "$left" -gt 0 ] || {
            echo "$3 does not have $2 running tasks within $1 s, it has $(running "$3")"
            return 1
        }
        left=$((left - 2))
        sleep 2
    done
}

scale() {
    "$OPEN_BALENA_LAB_DIR/bin/docker" --context "$context" service scale --detach "openbalena_$1=$2" &&
        wait_for 90 "$2" "$1"
}

logs_have_every_task() {
    tool swarm-logs api --tail 20 >"$work/logs" && grep -q "listening in production mode on port 80" "$work/logs"
}

nothing_left() {
    [ -z "$("$OPEN_BALENA_LAB_DIR/bin/docker" --context "$context" service ls --quiet)" ]
}

if "$root/open-balena.sh" lab status >/dev/null 2>&1; then
    echo "error: a lab is already running: run ./open-balena.sh lab down, or set OPEN_BALENA_LAB_DIR to another directory" >&2
    rmdir "$work"
    exit 2
fi
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

check "lab up" "$root/open-balena.sh" lab up
context=$("$root/open-balena.sh" lab status --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["context"])')
check "config" tool config --dns-tld openbalena.test --yes
check "swarm-init" tool swarm-init
check "swarm-init again changes nothing" tool swarm-init
check "swarm-build" tool swarm-build
check "swarm-up --dry-run" tool swarm-up --dry-run
check "swarm-up" tool swarm-up
check "swarm-status" tool swarm-status
check "swarm-logs of every api task" logs_have_every_task
check "verify" tool verify
check "scale api to 3" scale api 3
check "verify with 3 api tasks" tool verify
check "scale api to 1" scale api 1
check "scale api to 2" scale api 2
check "swarm-up again" tool swarm-up
check "swarm-down" tool swarm-down
check "no service is left" nothing_left
check "swarm-up on the kept volumes" tool swarm-up
check "verify on the kept volumes" tool verify
check "swarm-down --volumes" tool swarm-down --volumes --yes
