"""The certificate that HAProxy finds in the volume, and the services that have to start anew to trust it.

The images install the private CA at their start, where the certificate in use is a link into /certs/private, and keep
it over restarts; ROOT_CA, where it is set, comes in its place (open-balena-base, configure-balena.sh). So a service
that was made before the certificate became a public one goes on trusting the private CA alone, and one that started
before the private one lay there does not trust it. cert-manager leaves a certificate of another CA where it is, and
decides between the private and the public one when it starts (balena-io/cert-manager, entry.sh). Whenever it is done it
makes .ready anew, for which some images stop, to be started again (open-balena-base).
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from openbalena.secrets import pki
from openbalena.settings import Settings
from openbalena.standalone import health, volumes
from openbalena.standalone.containers import Container, Phase, read
from openbalena.standalone.deployment import Standalone
from openbalena.standalone.volumes import Entry

MAKER = "cert-manager"
CHAIN, READY = "/certs/export/chain.pem", "/certs/.ready"
# Those that reach others by HAProxy's public names.
_TRUSTING = ("api", "registry", "s3", "vpn")
# Those that stop for .ready.
_WATCHING = ("api", "s3", "vpn")
# Seconds: cert-manager's start, after which most images start anew by themselves; new containers (the VPN's grace is
# 150 s).
_WRITTEN, _ANEW = 120.0, 300.0
# How long after .ready a container that has it still to notice may run on: the api answers for some seconds more. One
# that was not yet looking when it was made goes on for good.
_STOPPING = timedelta(seconds=20)
_INTERVAL = 0.5


def place(standalone: Standalone) -> bool:
    """Make the volume's certificate what the settings say; whether that changed it. Nothing may have to be there yet.

    One that stands there by hand, where neither the settings nor the project's PKI know of another, stays.
    """
    volume = f"{standalone.name}_certs-data"
    with standalone.engine.client() as client:
        if not volumes.existing(client, [volume]):
            return False
        with volumes.holder(client, {volume: "/certs"}) as holder:
            wanted = _own if standalone.settings.get("HAPROXY_CRT") else _back
            files = wanted(client, holder, standalone.settings)
            if files:
                volumes.write(client, holder, "/certs", files)
    return bool(files)


def settle(standalone: Standalone, report: Callable[[str], None]) -> list[str]:
    """Once cert-manager has written its certificates, start what would not trust the one in use anew.

    Returns the services that cert-manager's start has started anew, too.
    """
    with standalone.engine.client() as client:
        (maker,) = health.until_ready(client, standalone.name, [MAKER], _WRITTEN, lambda _: None)
        if maker.phase is not Phase.READY:
            return []
        anew = _until_started(client, standalone.name, maker.containers[0])
        if standalone.settings.get("ROOT_CA"):
            return anew
        chain = volumes.look(client, maker.containers[0].id, CHAIN)
        wrong = late(chain, read(client, standalone.name)) if chain else []
    if wrong:
        report(f"starting {', '.join(wrong)} anew, to trust the certificate that is in use now")
        for _ in standalone.stream(
            "up", "--detach", "--no-build", "--no-deps", "--force-recreate", *wrong, limit=_ANEW
        ):
            pass
    return sorted({*anew, *wrong})


def _until_started(client: Any, project: str, maker: Container) -> list[str]:
    """Wait until what stops for the .ready that `maker` makes has started again, at most for _STOPPING; what has."""
    begun = datetime.fromisoformat(maker.started)
    while True:
        ready = volumes.look(client, maker.id, READY)
        made = ready.changed if ready and ready.changed >= begun else None
        running = [c for c in read(client, project) if c.service in _WATCHING and c.state in ("running", "restarting")]
        anew = [c.service for c in running if made and datetime.fromisoformat(c.started) >= made]
        waited = datetime.fromisoformat(client.info()["SystemTime"]) - (made or begun)
        if (made and len(anew) == len(running)) or waited > _STOPPING:
            return anew
        time.sleep(_INTERVAL)


def late(chain: Entry, containers: list[Container]) -> list[str]:
    """The services whose container trusts what was in use before `chain` was put there."""
    # The images' configure step tells a private one by this.
    private = "/private/" in chain.target
    moments = {each.service: each.started if private else each.created for each in containers}
    return sorted(
        name for name in _TRUSTING if name in moments and datetime.fromisoformat(moments[name]) < chain.changed
    )


def _own(client: Any, holder: str, settings: Settings) -> dict[str, tuple[bytes, int] | str]:
    """A certificate of the user's own, where the settings have one that is not there yet."""
    chain = b"".join(part.rstrip(b"\n") + b"\n" for part in pki.own(settings) if part)
    served = volumes.look(client, holder, CHAIN)
    if served and not served.target and volumes.content(client, holder, CHAIN) == chain:
        return {}
    return {"export/chain.pem": (chain, 0o600)}


def _back(client: Any, holder: str, settings: Settings) -> dict[str, tuple[bytes, int] | str]:
    """The way back to cert-manager's own: to the private one, and without ACME so that it stays that one."""
    tld, acme = settings["DNS_TLD"], settings.get("ACME_EMAIL")
    private = f"/certs/private/{tld}-chain.pem"
    served = volumes.look(client, holder, CHAIN)
    if served is None or served.target == private or volumes.look(client, holder, private) is None:
        return {}
    if served.target if acme else not pki.serves_own(Path(settings["PKI_DIR"])):
        return {}
    # cert-manager serves the public one where these two are not empty.
    files = [f"public/{tld}.{end}" for end in ("pem", "key")]
    public = [name for name in files if volumes.look(client, holder, f"/certs/{name}")]
    return {"export/chain.pem": private, **({} if acme else dict.fromkeys(public, (b"", 0o600)))}
