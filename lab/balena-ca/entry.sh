#!/bin/bash
# Like the image's entrypoint (balena-io/ca-private v0.0.31, entry.sh): it creates what is missing, then serves in the
# background and sleeps. So the container keeps running even if cfssl exits, and only SIGKILL stops it, because process 1
# does not handle SIGTERM. OCSP responses are served from a file that is rewritten only after balena.db was written; a
# change during that is not noticed. Missing: update locks.
set -ea

TLD=${TLD:-$DNS_TLD}
CERTS=${CERTS:-/certs}
PKI=${PKI:-/pki}

mkdir -p "$PKI" "$CERTS/private"
cd "$PKI"
python3 -m standin || echo "balena-ca: could not create all missing files" >&2
[ -e balena.db ] || sqlite3 balena.db </workdir/sqlite.sql
[ -e ocsp_responses ] || touch ocsp_responses
cfssl ocspserve -address 0.0.0.0 -port 8889 -responses ocsp_responses &
(while true; do
    inotifywait -e create -e modify "$PKI/balena.db"
    for pid in $(pgrep -f 'cfssl ocspserve'); do
        kill "$pid"
    done
    cfssl ocsprefresh -db-config /workdir/sqlite.json -responder ocsp.pem -responder-key ocsp-key.pem \
        -ca server-ca-0.pem && cfssl ocspdump -db-config /workdir/sqlite.json >ocsp_responses
    cfssl ocspserve -address 0.0.0.0 -port 8889 -responses ocsp_responses &
    sleep 1s
done) &
cat ca-0.pem >"$CERTS/private/root-ca.$TLD.pem"
cat server-ca-0.pem >"$CERTS/private/server-ca.$TLD.pem"
cat server-ca-0.pem ca-0.pem >"$CERTS/private/ca-bundle.$TLD.pem"
chmod 0600 "$PKI"/*-key.pem && cfssl serve -address 0.0.0.0 -port 8888 -ca server-ca-0.pem \
    -ca-key server-ca-0-key.pem -db-config /workdir/sqlite.json &
sleep infinity
