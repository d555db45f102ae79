"""The domain's certificate from an ACME server by DNS challenge, with certbot as the real cert-manager has it.

Like the real one it tries a few times, waits longer after each failure, and then goes on without a certificate.
"""

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

# Where the lab's ACME server says which CA its own TLS and the certificates that it issues are of.
_AUTHORITIES = "http://letsencrypt/ca.pem"
_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
_LIVE = Path("/etc/letsencrypt/live")
_ACCOUNTS = Path("/etc/letsencrypt/accounts")
_CREDENTIALS = Path("/root/dns.ini")
# Seconds for one answer, and until the server must have started.
_TIMEOUT, _BOUND = 10, 60
# The real one asks for a new certificate only while the old one has less than this to go.
_DUE = timedelta(days=7)


def issue(tld: str, certs: Path) -> None:
    """Put certificate and key into `certs`/public, unless those there have time to go."""
    cloudflare, gandi = (os.environ.get(f"{name}_API_TOKEN", "") for name in ("CLOUDFLARE", "GANDI"))
    if not (os.environ.get("ACME_EMAIL") and (cloudflare or gandi)):
        return
    public = certs / "public"
    if not due(public / f"{tld}.pem"):
        return
    environment = {**os.environ, "REQUESTS_CA_BUNDLE": _trust(certs / "lab-public-ca.pem")}
    if cloudflare:
        _CREDENTIALS.touch(mode=0o600)
        _CREDENTIALS.write_text(f"dns_cloudflare_api_token = {cloudflare}\n")
        seconds = os.environ.get("DNS_CLOUDFLARE_PROPAGATION_SECONDS", "60")
        challenge = ["--dns-cloudflare", "--dns-cloudflare-credentials", str(_CREDENTIALS)]
        challenge += ["--dns-cloudflare-propagation-seconds", seconds]
    else:
        hook = "/usr/src/app/gandi-hook"
        challenge = ["--manual", "--preferred-challenges", "dns", "--manual-auth-hook", f"{hook} add"]
        challenge += ["--manual-cleanup-hook", f"{hook} remove"]
    words = ["certbot", "certonly", "--non-interactive", "--agree-tos", "--no-eff-email", "--expand"]
    words += ["--server", os.environ["ACME_SERVER"], "-m", os.environ["ACME_EMAIL"]]
    # Renewed whatever certbot thinks: `due` has decided.
    words += ["--force-renewal", "--cert-name", tld, "-d", tld, "-d", f"*.{tld}", *challenge]
    if _tried(words, environment):
        live = _LIVE / tld
        chain, key = (live / "fullchain.pem").read_text(), (live / "privkey.pem").read_text()
        for name, content in ((f"{tld}.pem", chain), (f"{tld}.key", key), (f"{tld}-chain.pem", chain + key)):
            (public / name).touch(mode=0o600)
            (public / name).write_text(content)


def due(certificate: Path) -> bool:
    try:
        end = x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    except (OSError, ValueError):
        return True
    return end - datetime.now(UTC) < _DUE


def _trust(kept: Path) -> str:
    """A file with the CAs of the lab's ACME server, those of earlier ones too, and the system's."""
    known = kept.read_text() if kept.exists() else ""
    new = _ask(_AUTHORITIES)
    if new not in known:
        kept.write_text(known + new)
        # A pebble that was started anew has forgotten the accounts, which Let's Encrypt never does.
        shutil.rmtree(_ACCOUNTS, ignore_errors=True)
    bundle = Path("/root/trusted.pem")
    bundle.write_text(Path(_BUNDLE).read_text() + kept.read_text())
    return str(bundle)


def _ask(url: str) -> str:
    end = time.monotonic() + _BOUND
    while True:
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:  # noqa: S310 (a constant)
                return str(answer.read().decode())
        except OSError as error:
            if time.monotonic() > end:
                sys.exit(f"cert-manager: {url} did not answer within {_BOUND} s: {error}")
            time.sleep(1)


def _tried(words: list[str], environment: dict[str, str]) -> bool:
    attempts, pause = int(os.environ.get("ATTEMPTS", "3")), int(os.environ.get("TIMEOUT", "60"))
    for number in range(attempts):
        if subprocess.run(words, env=environment, check=False).returncode == 0:
            return True
        if number + 1 < attempts:
            print(f"cert-manager: certbot failed: trying again in {pause} s", file=sys.stderr)
            time.sleep(pause)
            pause *= 2
    print(f"cert-manager: certbot failed {attempts} times: going on without its certificate", file=sys.stderr)
    return False
