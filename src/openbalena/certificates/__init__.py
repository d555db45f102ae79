"""HAProxy's certificate as cert-manager gets and renews it, or as a custom one, in both modes.

The volume certs-data of cert-manager and HAProxy is at /certs in both.
"""

CERT_MANAGER = "cert-manager"
# What HAProxy reads: a file, or a link to cert-manager's certificate in /certs/public or /certs/private.
CHAIN = "/certs/export/chain.pem"
# Exists while cert-manager has nothing to do.
READY = "/certs/.ready"
