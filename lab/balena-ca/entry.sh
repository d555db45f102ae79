#!/bin/bash
# What the image's entry does (balena-io/ca-private v0.0.31, entry.sh): it makes what is missing, then serves from the
# background and sleeps. So the container stays, whatever becomes of cfssl, and ends by SIGKILL alone: process 1 handles no
# SIGTERM. OCSP answers are those of the file, which is written anew where balena.db was written to, and not before; a
# change while that goes on is not seen. Not here: update locks.
set -ea

TLD=${TLD:-$DNS_TLD}
CERTS=${CERTS:-/certs}
PKI=${PKI:-/pki}

mkdir -p "$PKI" "$CERTS/private"
cd "$PKI"
python3 -m standin || echo "balena-ca: not all that is missing could be made" >&2
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
