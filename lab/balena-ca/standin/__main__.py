"""Serves the CA in /pki, making what is missing there; writes its certificates to /certs/private as upstream does."""

import os
import signal
import sys
import threading
from pathlib import Path

from standin.authority import Authority
from standin.server import Cfssl, Ocsp, serve


def main() -> None:
    tld = os.environ.get("TLD") or os.environ.get("DNS_TLD") or sys.exit("balena-ca: DNS_TLD is not set")
    authority = Authority(Path("/pki"), str(tld))
    shared = Path("/certs/private")
    if shared.parent.is_dir():
        authority.publish(shared)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    threading.Thread(target=serve, args=(8889, Ocsp, authority), daemon=True).start()
    serve(8888, Cfssl, authority)


main()
