#!/bin/bash
# What the image's entry does (balena-io/ca-private v0.0.31, entry.sh): it makes what is missing, then serves from the
# background and sleeps. So the container stays, whatever becomes of cfssl, and ends by SIGKILL alone: process 1 handles no
# SIGTERM. Not here: update locks, OCSP answers from a file that is written anew (the database is asked each time).
set -ea

TLD=${TLD:-$DNS_TLD}
CERTS=${CERTS:-/certs}
PKI=${PKI:-/pki}

mkdir -p "$PKI" "$CERTS/private"
cd "$PKI"
python3 -m standin make || echo "balena-ca: not all that is missing could be made" >&2
[ -e ocsp_responses ] || touch ocsp_responses
python3 -m standin ocsp &
cat ca-0.pem >"$CERTS/private/root-ca.$TLD.pem"
cat server-ca-0.pem >"$CERTS/private/server-ca.$TLD.pem"
cat server-ca-0.pem ca-0.pem >"$CERTS/private/ca-bundle.$TLD.pem"
chmod 0600 "$PKI"/*-key.pem && python3 -m standin cfssl &
sleep infinity
