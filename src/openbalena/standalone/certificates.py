"""What a new cert-manager means for services that run already.

The images that s6 runs stop, and start again, when cert-manager has written certificates; the
registry's does not, so one that started while another CA's certificate lay there would never trust the new one.
"""

from openbalena.standalone import health
from openbalena.standalone.containers import read
from openbalena.standalone.deployment import Standalone

_MAKER = "cert-manager"
# Seconds for it to have written its certificates, and for a restart of the registry.
_WRITTEN, _RESTART = 120.0, 120.0


def maker(standalone: Standalone) -> str:
    """The id of cert-manager's container, "" where there is none."""
    with standalone.engine.client() as client:
        return next((each.id for each in read(client, standalone.name) if each.service == _MAKER), "")


def renewed(standalone: Standalone, before: str) -> bool:
    """Restart the registry where cert-manager's container replaced the one with the id `before`."""
    if not before or maker(standalone) == before:
        return False
    with standalone.engine.client() as client:
        health.until_ready(client, standalone.name, [_MAKER], _WRITTEN, lambda _: None)
    for _ in standalone.stream("restart", "registry", limit=_RESTART):
        pass
    return True
