"""The certificate that HAProxy reads from the volume, and the services that must be restarted to trust it.

The images install the private CA when they start, if the certificate in use is a link into /certs/private, and keep it
across restarts; ROOT_CA, if set, is used instead (open-balena-base, configure-balena.sh). So a container created before
the certificate became a public one still trusts only the private CA, and one started before the private one existed
does not trust it. cert-manager does not touch a certificate of another CA, and chooses between the private and the
public one when it starts (balena-io/cert-manager, entry.sh). Whenever it finishes it recreates .ready, which makes some
images exit in order to be restarted (open-balena-base).
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from openbalena.base.names import full_name
from openbalena.certificates import CERT_MANAGER, CHAIN, READY
from openbalena.machine import health, volumes
from openbalena.machine.containers import Container, ContainerPhase, read_containers
from openbalena.machine.deployment import Standalone
from openbalena.machine.volumes import FileInfo
from openbalena.pki import store
from openbalena.settings import Settings

# The services that connect to others by HAProxy's public names.
_TRUSTING = ("api", "registry", "s3", "vpn")
# The services that exit when .ready changes.
_WATCHING = ("api", "s3", "vpn")
# Seconds for cert-manager's start, after which most images restart themselves, and for recreating containers (the VPN's
# grace period is 150 s).
_WRITTEN, _ANEW = 120.0, 300.0
# How long a container may keep running before it reacts to .ready: the api still answers for some seconds. One that was
# not watching yet when the file was created keeps running.
_STOPPING = timedelta(seconds=20)
_INTERVAL = 0.5


def install(standalone: Standalone) -> bool:
    """Install the certificate of the settings in the volume, if the volume exists; returns whether it changed.

    A certificate put there manually is kept if neither the settings nor the project's PKI specify another.
    """
    volume = full_name(standalone.name, "certs-data")
    with standalone.engine.client() as client:
        if not volumes.existing_volumes(client, [volume]):
            return False
        with volumes.volume_container(client, {volume: "/certs"}) as holder:
            choose = _own if standalone.settings.get("HAPROXY_CRT") else _back
            files = choose(client, holder, standalone.settings)
            if files:
                volumes.write_file(client, holder, "/certs", files)
    return bool(files)


def recreate_stale_services(standalone: Standalone, report: Callable[[str], None]) -> list[str]:
    """Once cert-manager has written its certificates, recreate the services that would not trust the one in use.

    Also returns the services that were restarted because of cert-manager's start.
    """
    with standalone.engine.client() as client:
        (maker,) = health.wait_until_healthy(client, standalone.name, [CERT_MANAGER], _WRITTEN, lambda _: None)
        if maker.phase is not ContainerPhase.READY:
            return []
        restarted = _until_started(client, standalone.name, maker.containers[0])
        if standalone.settings.get("ROOT_CA"):
            return restarted
        chain = volumes.stat_file(client, maker.containers[0].id, CHAIN)
        stale = services_with_stale_trust(chain, read_containers(client, standalone.name)) if chain else []
    if stale:
        report(f"recreating {', '.join(stale)}, to trust the certificate in use")
        for _ in standalone.stream(
            "up", "--detach", "--no-build", "--no-deps", "--force-recreate", *stale, limit=_ANEW
        ):
            pass
    return sorted({*restarted, *stale})


def _until_started(client: Any, project: str, maker: Container) -> list[str]:
    """Wait, at most _STOPPING, until the services that watch .ready of `maker` have restarted; returns which have."""
    begun = datetime.fromisoformat(maker.started)
    while True:
        ready = volumes.stat_file(client, maker.id, READY)
        made = ready.changed if ready and ready.changed >= begun else None
        running = [
            c
            for c in read_containers(client, project)
            if c.service in _WATCHING and c.state in ("running", "restarting")
        ]
        restarted = [c.service for c in running if made and datetime.fromisoformat(c.started) >= made]
        waited = datetime.fromisoformat(client.info()["SystemTime"]) - (made or begun)
        if (made and len(restarted) == len(running)) or waited > _STOPPING:
            return restarted
        time.sleep(_INTERVAL)


def services_with_stale_trust(chain: FileInfo, containers: list[Container]) -> list[str]:
    """The services whose container trusts the certificate that was in use before `chain`."""
    # The images' configure step recognises a private certificate by this path.
    private = "/private/" in chain.target
    moments = {each.service: each.started if private else each.created for each in containers}
    return sorted(
        name for name in _TRUSTING if name in moments and datetime.fromisoformat(moments[name]) < chain.changed
    )


def _own(client: Any, holder: str, settings: Settings) -> dict[str, tuple[bytes, int] | str]:
    """The custom certificate in the settings, if it is not installed yet."""
    chain = b"".join(part.rstrip(b"\n") + b"\n" for part in store.custom_certificate(settings) if part)
    served = volumes.stat_file(client, holder, CHAIN)
    if served and not served.target and volumes.directory_content(client, holder, CHAIN) == chain:
        return {}
    return {"export/chain.pem": (chain, 0o600)}


def _back(client: Any, holder: str, settings: Settings) -> dict[str, tuple[bytes, int] | str]:
    """The link back to cert-manager's private certificate; without ACME, also what keeps it in use."""
    tld, acme = settings["DNS_TLD"], settings.get("ACME_EMAIL")
    private = f"/certs/private/{tld}-chain.pem"
    served = volumes.stat_file(client, holder, CHAIN)
    if served is None or served.target == private or volumes.stat_file(client, holder, private) is None:
        return {}
    if served.target if acme else not store.serves_own(Path(settings["PKI_DIR"])):
        return {}
    # cert-manager serves the public certificate if these two files are not empty.
    files = [f"public/{tld}.{end}" for end in ("pem", "key")]
    public = [name for name in files if volumes.stat_file(client, holder, f"/certs/{name}")]
    return {"export/chain.pem": private, **({} if acme else dict.fromkeys(public, (b"", 0o600)))}
