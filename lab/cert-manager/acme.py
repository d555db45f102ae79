"""Get the domain's certificate from an ACME server by DNS challenge, with certbot, like the real cert-manager.

Like the real one it tries a few times, waits longer after each failure, and then continues without a certificate.
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

# Where the lab's ACME server publishes the CAs of its TLS certificate and of the certificates that it issues.
_AUTHORITIES = "http://letsencrypt/ca.pem"
_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
_LIVE = Path("/etc/letsencrypt/live")
_ACCOUNTS = Path("/etc/letsencrypt/accounts")
_CREDENTIALS = Path("/root/dns.ini")
# Seconds for one response, and until the server must have started.
_TIMEOUT, _BOUND = 10, 60
# The real one requests a new certificate only if the old one expires within this time.
_DUE = timedelta(days=7)


def issue(tld: str, certs: Path) -> None:
    """Write certificate and key to `certs`/public, unless existing ones are not due for renewal."""
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
    command = ["certbot", "certonly", "--non-interactive", "--agree-tos", "--no-eff-email", "--expand"]
    command += ["--server", os.environ["ACME_SERVER"], "-m", os.environ["ACME_EMAIL"]]
    # `due` decides about renewal, not certbot.
    command += ["--force-renewal", "--cert-name", tld, "-d", tld, "-d", f"*.{tld}", *challenge]
    if _tried(command, environment):
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
    """A file with the CAs of the lab's ACME server, including earlier ones, and the system's."""
    known = kept.read_text() if kept.exists() else ""
    new = _ask(_AUTHORITIES)
    if new not in known:
        kept.write_text(known + new)
        # A restarted pebble has forgotten the accounts, which Let's Encrypt never does.
        shutil.rmtree(_ACCOUNTS, ignore_errors=True)
    bundle = Path("/root/trusted.pem")
    bundle.write_text(Path(_BUNDLE).read_text() + kept.read_text())
    return str(bundle)


def _ask(url: str) -> str:
    deadline = time.monotonic() + _BOUND
    while True:
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:  # noqa: S310 (a constant)
                return str(answer.read().decode())
        except OSError as error:
            if time.monotonic() > deadline:
                sys.exit(f"cert-manager: {url} did not answer within {_BOUND} s: {error}")
            time.sleep(1)


def _tried(command: list[str], environment: dict[str, str]) -> bool:
    attempts, pause = int(os.environ.get("ATTEMPTS", "3")), int(os.environ.get("TIMEOUT", "60"))
    for number in range(attempts):
        if subprocess.run(command, env=environment, check=False).returncode == 0:
            return True
        if number + 1 < attempts:
            print(f"cert-manager: certbot failed: retrying in {pause} s", file=sys.stderr)
            time.sleep(pause)
            pause *= 2
    print(f"cert-manager: certbot failed {attempts} times: continuing without its certificate", file=sys.stderr)
    return False
